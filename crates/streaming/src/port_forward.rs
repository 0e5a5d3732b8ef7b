//! The server's side of port-forward: over SPDY, over SPDY inside a WebSocket (kubectl since 1.31), and over plain
//! WebSocket channels.

mod channels;
mod tunnel;

use std::collections::HashMap;
use std::pin::Pin;

use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::handshake::{self, Upgrade};
use crate::spdy::{Role, Session, Stream};

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const WEBSOCKET: &[&str] = &[TUNNEL, "v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""];
const SPDY: &[&str] = &["portforward.k8s.io"];
/// Connections that wait to be handled; the client waits when it is full.
const CONNECTIONS_MAX: usize = 16;
/// Half-opened pairs of streams; a client that opens more is cut off.
const HALVES_MAX: usize = 256;

/// One forwarded connection.
pub struct Connection {
    /// The port in the pod.
    pub port: u16,
    /// What the client sends.
    pub reader: Pin<Box<dyn AsyncRead + Send>>,
    /// What the client gets.
    pub writer: Pin<Box<dyn AsyncWrite + Send>>,
    errors: Pin<Box<dyn AsyncWrite + Send>>,
}

/// A request that has been answered and whose connection is being switched.
pub struct Pending {
    upgrade: Upgrade,
    connection: OnUpgrade,
    ports: Vec<u16>,
}

/// Checks the request and makes the answer. `ports` are those of the query, which only plain WebSocket clients use.
pub fn accept<B>(request: &mut Request<B>, ports: Vec<u16>) -> Result<(Response<()>, Pending), Error> {
    let upgrade = handshake::negotiate(request.headers(), WEBSOCKET, SPDY)?;
    let response = handshake::switching(request, upgrade)?;
    Ok((response, Pending { upgrade, connection: hyper::upgrade::on(request), ports }))
}

impl Pending {
    /// Waits until the client has switched. The receiver yields connections until the client leaves.
    pub async fn open(self) -> Result<mpsc::Receiver<Connection>, Error> {
        let connection = self.connection.await?;
        let (session, streams) = match self.upgrade {
            Upgrade::Spdy(_) => Session::start(TokioIo::new(connection), Role::Server)?,
            Upgrade::WebSocket(protocol) if protocol == TUNNEL => Session::start(tunnel::open(connection).await, Role::Server)?,
            Upgrade::WebSocket(protocol) => return channels::open(connection, protocol, &self.ports).await,
        };
        let (sender, receiver) = mpsc::channel(CONNECTIONS_MAX);
        tokio::spawn(pair_up(session, streams, sender));
        Ok(receiver)
    }
}

impl Connection {
    /// Tells the client why the connection failed; said nothing, it ended well.
    pub async fn fail(mut self, why: &str) -> Result<(), Error> {
        self.errors.write_all(why.as_bytes()).await?;
        self.errors.shutdown().await?;
        Ok(self.writer.shutdown().await?)
    }

    /// The parts, with the error stream last: shut it down at the end.
    pub fn into_parts(self) -> (Pin<Box<dyn AsyncRead + Send>>, Pin<Box<dyn AsyncWrite + Send>>, Pin<Box<dyn AsyncWrite + Send>>) {
        (self.reader, self.writer, self.errors)
    }
}

/// Joins each data stream with its error stream, by their request id.
async fn pair_up(session: Session, mut streams: mpsc::Receiver<Stream>, sender: mpsc::Sender<Connection>) {
    let mut halves: HashMap<String, Stream> = HashMap::new();
    while let Some(stream) = streams.recv().await {
        // Old clients number no requests; their error stream comes directly before its data stream.
        let request = match (stream.header("requestid"), stream.header("streamtype")) {
            (Some(id), _) => id.to_owned(),
            (None, Some("error")) => stream.id.to_string(),
            (None, _) => stream.id.saturating_sub(2).to_string(),
        };
        let Some(other) = halves.remove(&request) else {
            if halves.len() >= HALVES_MAX {
                break;
            }
            halves.insert(request, stream);
            continue;
        };
        let is_data = |s: &Stream| s.header("streamtype") == Some("data");
        let (data, errors) = if is_data(&stream) { (stream, other) } else { (other, stream) };
        let Some(port) = data.header("port").and_then(|p| p.parse().ok()) else { continue };
        let connection = Connection { port, reader: Box::pin(data.reader), writer: Box::pin(data.writer), errors: Box::pin(errors.writer) };
        if sender.send(connection).await.is_err() {
            break;
        }
    }
    session.close().await;
}
