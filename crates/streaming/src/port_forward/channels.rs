//! Port-forward over plain WebSocket channels: for the n-th port, channel 2n carries data and 2n+1 errors; the first
//! message on each is the port as two bytes, little end first.

use std::collections::HashMap;

use hyper::upgrade::Upgraded;
use tokio::sync::mpsc;

use super::{CONNECTIONS_MAX, Connection};
use crate::channel::Reader;
use crate::error::Error;
use crate::websocket::{self, Framing};

pub(super) async fn open(connection: Upgraded, protocol: &str, ports: &[u16]) -> Result<mpsc::Receiver<Connection>, Error> {
    if ports.is_empty() || ports.len() > CONNECTIONS_MAX {
        return Err(Error::Protocol("query parameter \"ports\" is required, with at most 16 ports".into()));
    }
    let framing = if protocol.contains("base64") { Framing::Base64 } else { Framing::Binary };
    let numbered = || (0u8..).step_by(2).zip(ports);
    let mut inbound = HashMap::new();
    let mut readers = Vec::new();
    for (channel, _) in numbered() {
        let (sender, reader) = Reader::new();
        inbound.insert(channel, sender);
        readers.push(reader);
    }
    let outbound = websocket::start(websocket::socket(connection).await, framing, inbound);
    let (sender, receiver) = mpsc::channel(CONNECTIONS_MAX);
    for ((channel, port), reader) in numbered().zip(readers) {
        outbound.send(channel, &port.to_le_bytes()).await?;
        outbound.send(channel + 1, &port.to_le_bytes()).await?;
        let connection = Connection {
            port: *port,
            reader: Box::pin(reader),
            writer: Box::pin(outbound.writer(channel)),
            errors: Box::pin(outbound.writer(channel + 1)),
        };
        // There is room for every port.
        let _ = sender.send(connection).await;
    }
    Ok(receiver)
}
