//! The node server: logs, exec, attach, port-forward, statistics and metrics, over TLS.
//!
//! # Expected flow
//! The API server connects with its client certificate; everybody else is asked about at the API server.
//! # Caveats
//! Whoever may exec on a node owns its pods, so nothing here is served without authentication.

mod auth;
mod logs;
mod metrics;
mod query;
mod reply;
mod routes;
mod stats;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::machine::Machine;
use crate::pod::registry::Registry;

/// Connections served at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 1024;
/// A client that does not finish its TLS handshake in this time is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What every request needs.
pub(crate) struct Shared {
    pub(crate) machine: Arc<Machine>,
    pub(crate) registry: Registry,
    pub(crate) access: auth::Access,
}

/// Listens; kept apart from serving so that a taken port is an error at once.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Serves; never returns.
pub async fn serve(machine: Arc<Machine>, registry: Registry, listener: TcpListener) {
    let Some(tls) = machine.config.server.as_ref().map(|s| TlsAcceptor::from(s.tls.clone())) else { return };
    let access = auth::Access::new(machine.deps.client.clone(), machine.config.node_name.clone());
    let shared = Arc::new(Shared { machine, registry, access });
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (shared, tls) = (shared.clone(), tls.clone());
                connections.spawn(async move {
                    connection(shared, tls, stream).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection to the node server");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(shared: Arc<Shared>, tls: TlsAcceptor, stream: TcpStream) {
    // Interactive streams send small pieces that must not wait for more.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else { return };
    let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).and_then(|c| auth::Identity::of_certificate(c));
    let service = service_fn(move |request| {
        let (shared, peer) = (shared.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(routes::answer(&shared, peer, request).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the node server broke");
    }
}

#[cfg(test)]
mod tests;
