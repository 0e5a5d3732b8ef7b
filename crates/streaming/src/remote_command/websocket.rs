//! Exec and attach over a WebSocket: channel 0 is stdin, 1 stdout, 2 stderr, 3 the result, 4 terminal sizes.

use std::collections::HashMap;
use std::pin::Pin;

use hyper::upgrade::Upgraded;
use tokio::io::AsyncWrite;

use super::{Wanted, is_version_4, no_resizes, resizes, status_object, status_text};
use crate::channel::Reader;
use crate::error::Error;
use crate::streams::{ExitStatus, Streams};
use crate::websocket::{self, Framing, Outbound};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const RESULT: u8 = 3;
const RESIZE: u8 = 4;

pub(super) struct Ending {
    outbound: Outbound,
    protocol: &'static str,
}

pub(super) async fn open(connection: Upgraded, protocol: &'static str, wanted: Wanted) -> Result<(Streams, Ending), Error> {
    let framing = if protocol.starts_with("base64") { Framing::Base64 } else { Framing::Binary };
    let (stdin_sender, stdin) = Reader::new();
    let (resize_sender, resize) = Reader::new();
    let mut inbound = HashMap::new();
    if wanted.stdin {
        inbound.insert(STDIN, stdin_sender);
    }
    if wanted.tty {
        inbound.insert(RESIZE, resize_sender);
    }
    let outbound = websocket::start(websocket::socket(connection).await, framing, inbound);
    // An empty message tells clients that everything is set up (upstream does so; older clients wait for it).
    let first = if wanted.stdout {
        STDOUT
    } else if wanted.stderr {
        STDERR
    } else {
        RESULT
    };
    outbound.send(first, &[]).await?;
    let writer = |on: bool, channel| -> Option<Pin<Box<dyn AsyncWrite + Send>>> {
        on.then(|| Box::pin(outbound.writer(channel)) as Pin<Box<dyn AsyncWrite + Send>>)
    };
    let streams = Streams {
        stdin: if wanted.stdin { Some(Box::pin(stdin)) } else { None },
        stdout: writer(wanted.stdout, STDOUT),
        stderr: writer(wanted.stderr && !wanted.tty, STDERR),
        resize: if wanted.tty { resizes(resize) } else { no_resizes() },
    };
    Ok((streams, Ending { outbound, protocol }))
}

impl Ending {
    pub(super) async fn finish(self, status: &ExitStatus) -> Result<(), Error> {
        if is_version_4(self.protocol) {
            self.outbound.send(RESULT, status_object(status).to_string().as_bytes()).await?;
        } else {
            let text = status_text(status);
            if !text.is_empty() {
                self.outbound.send(RESULT, text.as_bytes()).await?;
            }
        }
        self.outbound.close().await
    }
}
