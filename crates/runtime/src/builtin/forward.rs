//! Port forwarding: the shim, which is in the pod's network namespace, makes the socket; this process connects and copies.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::Builtin;
use super::client::Shim;
use crate::wire::{Call, Family};

/// A connection inside one machine is made at once or not at all; longer means that a packet filter swallows it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

impl Builtin {
    pub(super) async fn forward(&self, sandbox: &str, port: u16, stream: cri::Duplex) -> cri::Result<()> {
        let sandbox = self.sandbox(sandbox)?;
        let shim = sandbox.shim()?;
        let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let mut inside = match connect(&shim, Family::V4, v4).await {
            Ok(inside) => inside,
            Err(first) => connect(&shim, Family::V6, v6).await.map_err(|second| {
                cri::Error::Unavailable(format!(
                    "failed to connect to localhost:{port} inside pod sandbox {}, IPv4: {first} IPv6: {second}",
                    sandbox.id
                ))
            })?,
        };
        let (mut from_pod, mut to_pod) = inside.split();
        let (mut from_client, mut to_client) = tokio::io::split(stream);
        let there = async {
            let _ = tokio::io::copy(&mut from_client, &mut to_pod).await;
            let _ = to_pod.shutdown().await;
            // The client may say all it has to say and then listen.
            std::future::pending::<()>().await;
        };
        let back = async {
            let _ = tokio::io::copy(&mut from_pod, &mut to_client).await;
            let _ = to_client.shutdown().await;
        };
        // When the pod has closed its side nobody is left to hear the client. A broken connection is the end of a forward, not a failure.
        tokio::select! {
            () = there => {}
            () = back => {}
        }
        Ok(())
    }
}

async fn connect(shim: &Shim, family: Family, to: SocketAddr) -> Result<TcpStream, String> {
    let (_, mut carried) = shim.ask(Call::Socket { family }, &[]).await.map_err(|e| e.to_string())?;
    let socket = carried.pop().ok_or_else(|| "no socket came along".to_owned())?;
    let connecting = TcpSocket::from_std_stream(std::net::TcpStream::from(socket)).connect(to);
    match tokio::time::timeout(CONNECT_PATIENCE, connecting).await {
        Ok(outcome) => outcome.map_err(|e| e.to_string()),
        Err(_) => Err("connection timed out".to_owned()),
    }
}
