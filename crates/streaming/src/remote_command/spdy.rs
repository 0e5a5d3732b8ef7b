//! Exec and attach over SPDY: the client opens one stream for each direction, named by the header `streamtype`.

use std::pin::Pin;
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{Wanted, is_version_4, no_resizes, resizes, status_object, status_text};
use crate::error::Error;
use crate::spdy::{Role, Session, Stream};
use crate::streams::{ExitStatus, Streams};

/// Upstream's default, too.
const STREAMS_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Ending {
    session: Session,
    result: Stream,
    protocol: &'static str,
}

#[derive(Default)]
struct Opened {
    result: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

pub(super) async fn open(connection: Upgraded, protocol: &'static str, wanted: Wanted) -> Result<(Streams, Ending), Error> {
    let (session, mut incoming) = Session::start(TokioIo::new(connection), Role::Server)?;
    let has_resize = wanted.tty && (is_version_4(protocol) || protocol.starts_with("v3."));
    let expected =
        1 + usize::from(wanted.stdin) + usize::from(wanted.stdout) + usize::from(wanted.stderr && !wanted.tty) + usize::from(has_resize);
    let collect = async {
        let mut opened = Opened::default();
        for _ in 0..expected {
            let stream = incoming.recv().await.ok_or_else(|| Error::Protocol("the client left before it opened its streams".into()))?;
            let kind = stream.header("streamtype").unwrap_or_default().to_owned();
            let place = match kind.as_str() {
                "error" => &mut opened.result,
                "stdin" => &mut opened.stdin,
                "stdout" => &mut opened.stdout,
                "stderr" => &mut opened.stderr,
                "resize" => &mut opened.resize,
                other => return Err(Error::Protocol(format!("unexpected stream type: {other:?}"))),
            };
            *place = Some(stream);
        }
        Ok(opened)
    };
    let opened = tokio::time::timeout(STREAMS_TIMEOUT, collect).await.map_err(|_| Error::StreamsTimeout)??;
    // Kept open, so that a late stream is not an error; it is simply never read.
    drop(incoming);
    let result = opened.result.ok_or_else(|| Error::Protocol("the client opened no error stream".into()))?;
    let writer = |stream: Option<Stream>| stream.map(|s| Box::pin(s.writer) as Pin<Box<dyn AsyncWrite + Send>>);
    let streams = Streams {
        stdin: match opened.stdin {
            Some(stream) => Some(Box::pin(stream.reader)),
            None => None,
        },
        stdout: writer(opened.stdout),
        stderr: writer(opened.stderr),
        resize: opened.resize.map_or_else(no_resizes, |stream| resizes(stream.reader)),
    };
    Ok((streams, Ending { session, result, protocol }))
}

impl Ending {
    pub(super) async fn finish(mut self, status: &ExitStatus) -> Result<(), Error> {
        let text = if is_version_4(self.protocol) { status_object(status).to_string() } else { status_text(status) };
        self.result.writer.write_all(text.as_bytes()).await?;
        self.result.writer.shutdown().await?;
        // Peers take the end of the connection as the end of everything, so it must not overtake the result; the
        // frames stay in order, and the goodbye comes last.
        self.session.close().await;
        Ok(())
    }
}
