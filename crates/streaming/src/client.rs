//! The client's side, towards a SPDY server such as a CRI runtime's streaming server.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::error::Error;
use crate::remote_command::Wanted;
use crate::spdy::{Role, Session, Stream};
use crate::streams::{ExitStatus, Streams};

const REFUSAL_MAX_BYTES: usize = 64 << 10;
/// How long the server's last word may take after the end of the data.
const LAST_WORD: Duration = Duration::from_secs(1);
const STATUS_MAX_BYTES: u64 = 64 << 10;
const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// Runs a command's streams through the server at `path` (with its query) on the connection.
pub async fn remote_command<T>(io: T, host: &str, path: &str, wanted: Wanted, streams: Streams) -> Result<ExitStatus, Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (session, _incoming) = connect(io, host, path, "v4.channel.k8s.io").await?;
    let mut result = session.open(&[("streamtype", "error")]).await?;
    result.writer.shutdown().await?;
    let Streams { stdin, stdout, stderr, mut resize } = streams;
    if let (true, Some(mut from)) = (wanted.stdin, stdin) {
        let mut to = session.open(&[("streamtype", "stdin")]).await?;
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut from, &mut to.writer).await;
            let _ = to.writer.shutdown().await;
        });
    }
    let out = output(&session, "stdout", wanted.stdout, stdout).await?;
    let err = output(&session, "stderr", wanted.stderr && !wanted.tty, stderr).await?;
    if wanted.tty {
        let mut to = session.open(&[("streamtype", "resize")]).await?;
        tokio::spawn(async move {
            while let Some(size) = resize.recv().await {
                let text = serde_json::to_vec(&size).unwrap_or_default();
                if to.writer.write_all(&text).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut text = Vec::new();
    result.reader.take(STATUS_MAX_BYTES).read_to_end(&mut text).await?;
    let _ = tokio::join!(out, err);
    session.close().await;
    Ok(status(&text))
}

/// Forwards one connection to a port through the server at `path`.
pub async fn port_forward<T, D>(io: T, host: &str, path: &str, port: u16, stream: D) -> Result<(), Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    D: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (session, _incoming) = connect(io, host, path, "portforward.k8s.io").await?;
    let port = port.to_string();
    let mut errors = session.open(&[("streamtype", "error"), ("port", &port), ("requestid", "0")]).await?;
    errors.writer.shutdown().await?;
    let data = session.open(&[("streamtype", "data"), ("port", &port), ("requestid", "0")]).await?;
    let mut remote = tokio::io::join(data.reader, data.writer);
    let mut local = stream;
    let (say, said) = watch::channel(None);
    tokio::spawn(async move {
        let mut why = String::new();
        let _ = errors.reader.take(STATUS_MAX_BYTES).read_to_string(&mut why).await;
        say.send_replace(Some(why));
    });
    let result = tokio::select! {
        copied = tokio::io::copy_bidirectional(&mut local, &mut remote) => {
            // The server says why before it ends the data, so what it has to say is here or never comes.
            match tokio::time::timeout(LAST_WORD, word(said.clone(), |_| true)).await {
                Ok(why) if !why.is_empty() => Err(Error::Protocol(why)),
                _ => copied.map(drop).map_err(Error::from),
            }
        }
        why = word(said.clone(), |why| !why.is_empty()) => Err(Error::Protocol(why)),
    };
    session.close().await;
    result
}

/// The server's last word, once it has been said and is of interest; for ever otherwise.
async fn word(mut said: watch::Receiver<Option<String>>, of_interest: impl Fn(&str) -> bool) -> String {
    let heard = said.wait_for(|said| said.as_deref().is_some_and(&of_interest)).await.ok().and_then(|said| said.clone());
    match heard {
        Some(why) => why,
        None => std::future::pending().await,
    }
}

async fn output(
    session: &Session,
    kind: &str,
    wanted: bool,
    to: Option<Pin<Box<dyn AsyncWrite + Send>>>,
) -> Result<impl Future<Output = ()> + use<>, Error> {
    let from = if wanted { Some(session.open(&[("streamtype", kind)]).await?) } else { None };
    let copying = from.zip(to).map(|(mut from, mut to): (Stream, _)| {
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut from.reader, &mut to).await;
            let _ = to.flush().await;
        })
    });
    Ok(async move {
        if let Some(copying) = copying {
            let _ = copying.await;
        }
    })
}

async fn connect<T>(io: T, host: &str, path: &str, protocol: &str) -> Result<(Session, tokio::sync::mpsc::Receiver<Stream>), Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(connection.with_upgrades());
    let request = Request::post(path)
        .header(http::header::HOST, host)
        .header(http::header::CONNECTION, "Upgrade")
        .header(http::header::UPGRADE, "SPDY/3.1")
        .header(PROTOCOL, protocol)
        .header(http::header::CONTENT_LENGTH, "0")
        .body(Empty::<Bytes>::new())
        .map_err(|e| Error::Protocol(e.to_string()))?;
    let response = sender.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), REFUSAL_MAX_BYTES).collect().await;
        let message = body.map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned()).unwrap_or_default();
        return Err(Error::Refused { status, message });
    }
    let upgraded = hyper::upgrade::on(response).await?;
    Session::start(TokioIo::new(upgraded), Role::Client)
}

/// What the error stream's `Status` says.
fn status(text: &[u8]) -> ExitStatus {
    if text.is_empty() {
        return ExitStatus::Code(0);
    }
    let Ok(status) = serde_json::from_slice::<serde_json::Value>(text) else {
        return ExitStatus::Failed(String::from_utf8_lossy(text).into_owned());
    };
    if status.get("status").and_then(|s| s.as_str()) == Some("Success") {
        return ExitStatus::Code(0);
    }
    let causes = status.pointer("/details/causes").and_then(|c| c.as_array()).cloned().unwrap_or_default();
    let code = causes.iter().find(|c| c.get("reason").and_then(|r| r.as_str()) == Some("ExitCode"));
    let code = code.and_then(|c| c.get("message")?.as_str()?.parse().ok());
    let message = || status.get("message").and_then(|m| m.as_str()).unwrap_or("unknown failure").to_owned();
    code.map_or_else(|| ExitStatus::Failed(message()), ExitStatus::Code)
}
