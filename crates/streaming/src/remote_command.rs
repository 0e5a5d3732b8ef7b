//! The server's side of exec and attach.

mod spdy;
mod websocket;

use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::handshake::{self, Upgrade};
use crate::streams::{ExitStatus, Streams, TerminalSize};

const WEBSOCKET: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io", ""];
const SPDY: &[&str] = &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
/// Sizes that wait for the command's terminal; the client waits when it is full.
const SIZES_MAX: usize = 8;
/// One size message has some thirty bytes.
const SIZE_MAX_BYTES: usize = 1024;

/// Which streams the client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// It will send input.
    pub stdin: bool,
    /// It wants output.
    pub stdout: bool,
    /// It wants error output; never together with a terminal.
    pub stderr: bool,
    /// A terminal stands behind the streams.
    pub tty: bool,
}

/// A request that has been answered and whose connection is being switched.
pub struct Pending {
    upgrade: Upgrade,
    connection: OnUpgrade,
    wanted: Wanted,
}

/// Tells the client how it ended. Dropped without a word, the connection just ends.
pub struct Finisher(Ending);

enum Ending {
    WebSocket(websocket::Ending),
    Spdy(spdy::Ending),
}

/// Checks the request and makes the answer; send it, then call [`Pending::open`].
pub fn accept<B>(request: &mut Request<B>, wanted: Wanted) -> Result<(Response<()>, Pending), Error> {
    let upgrade = handshake::negotiate(request.headers(), WEBSOCKET, SPDY)?;
    let response = handshake::switching(request, upgrade)?;
    Ok((response, Pending { upgrade, connection: hyper::upgrade::on(request), wanted }))
}

impl Pending {
    /// Waits until the client has switched, and opens the streams.
    pub async fn open(self) -> Result<(Streams, Finisher), Error> {
        let connection = self.connection.await?;
        match self.upgrade {
            Upgrade::WebSocket(protocol) => {
                let (streams, ending) = websocket::open(connection, protocol, self.wanted).await?;
                Ok((streams, Finisher(Ending::WebSocket(ending))))
            }
            Upgrade::Spdy(protocol) => {
                let (streams, ending) = spdy::open(connection, protocol, self.wanted).await?;
                Ok((streams, Finisher(Ending::Spdy(ending))))
            }
        }
    }
}

impl Finisher {
    /// Reports the end and closes. All output must have been written before.
    pub async fn finish(self, status: &ExitStatus) -> Result<(), Error> {
        match self.0 {
            Ending::WebSocket(ending) => ending.finish(status).await,
            Ending::Spdy(ending) => ending.finish(status).await,
        }
    }
}

/// The `Status` object on the error channel, since version 4.
fn status_object(status: &ExitStatus) -> Value {
    match status {
        ExitStatus::Code(0) => json!({ "metadata": {}, "status": "Success" }),
        ExitStatus::Code(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: {code}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        ExitStatus::Failed(why) => json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("Internal error occurred: error executing command in container: {why}"),
            "details": { "causes": [{ "message": format!("error executing command in container: {why}") }] },
        }),
    }
}

/// Before version 4 the error channel has plain text, and none on success.
fn status_text(status: &ExitStatus) -> String {
    match status {
        ExitStatus::Code(0) => String::new(),
        ExitStatus::Code(code) => format!("error executing remote command: command terminated with non-zero exit code: {code}"),
        ExitStatus::Failed(why) => format!("error executing remote command: {why}"),
    }
}

fn is_version_4(protocol: &str) -> bool {
    protocol.starts_with("v4.") || protocol.starts_with("v5.")
}

/// Reads terminal sizes (JSON objects one after the other) until the stream ends.
fn resizes(mut reader: impl AsyncRead + Send + Unpin + 'static) -> mpsc::Receiver<TerminalSize> {
    let (sender, receiver) = mpsc::channel(SIZES_MAX);
    tokio::spawn(async move {
        let mut pending: Vec<u8> = Vec::new();
        let mut buffer = [0u8; 256];
        while let Ok(n) = reader.read(&mut buffer).await {
            pending.extend_from_slice(buffer.get(..n).unwrap_or_default());
            if n == 0 || pending.len() > SIZE_MAX_BYTES {
                return;
            }
            let mut sizes = serde_json::Deserializer::from_slice(&pending).into_iter::<TerminalSize>();
            let mut used = 0;
            let mut found = Vec::new();
            while let Some(Ok(size)) = sizes.next() {
                used = sizes.byte_offset();
                found.push(size);
            }
            pending.drain(..used);
            for size in found {
                if sender.send(size).await.is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

/// A receiver that never yields anything.
fn no_resizes() -> mpsc::Receiver<TerminalSize> {
    mpsc::channel(1).1
}
