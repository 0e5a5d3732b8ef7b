//! DNS over TCP (RFC 7766): length-prefixed queries, answered in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::answer::{Reply, answer};
use crate::forward::Forwarder;
use crate::server::{Transport, ask};
use crate::zone::Zone;

/// Connections at one time; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// A client that says nothing for this long is hung up on.
const IDLE: Duration = Duration::from_secs(10);
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `listener` until the task is aborted.
pub(crate) async fn serve(listener: TcpListener, zone: Arc<ArcSwap<Zone>>, forwarder: Arc<Forwarder>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                tracing::debug!(error = %e, "a DNS connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (zone, forwarder) = (Arc::clone(&zone), Arc::clone(&forwarder));
        tokio::spawn(async move {
            // A broken connection concerns only its client.
            let _ = converse(stream, &zone, &forwarder).await;
            drop(slot);
        });
    }
}

async fn converse(mut stream: TcpStream, zone: &ArcSwap<Zone>, forwarder: &Forwarder) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let packet = tokio::time::timeout(IDLE, async {
            let length = stream.read_u16().await?;
            let mut packet = vec![0; usize::from(length)];
            stream.read_exact(&mut packet).await?;
            Ok::<_, io::Error>(packet)
        });
        let packet = packet.await??;
        let reply = answer(&packet, &zone.load_full(), Transport::Tcp.limit(), 0);
        let response = match reply {
            Reply::Send(response) => Some(response),
            Reply::Ignore => return Ok(()),
            elsewhere => ask(forwarder, &packet, &elsewhere, Transport::Tcp).await,
        };
        let Some(response) = response else { return Ok(()) };
        let mut framed = u16::try_from(response.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
        framed.extend_from_slice(&response);
        tokio::time::timeout(IDLE, stream.write_all(&framed)).await??;
    }
}
