//! SPDY inside a WebSocket: binary messages carry the bytes of the SPDY connection (KEP-4006).

use std::io;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use crate::websocket;

/// The WebSocket's binary messages as one byte stream in each direction.
pub(super) async fn open(connection: Upgraded) -> impl AsyncRead + AsyncWrite + Send + 'static {
    let (sink, stream) = websocket::socket(connection).await.split();
    let bytes = stream.filter_map(async |message| match message {
        Ok(Message::Binary(data)) => Some(Ok(data)),
        Ok(Message::Close(_)) => Some(Err(io::ErrorKind::ConnectionReset.into())),
        Ok(_) => None,
        Err(e) => Some(Err(io::Error::other(e))),
    });
    let reader = StreamReader::new(Box::pin(bytes));
    let sink = sink.with(|data: Bytes| std::future::ready(Ok::<_, tokio_tungstenite::tungstenite::Error>(Message::Binary(data))));
    let writer = SinkWriter::new(CopyToBytes::new(Box::pin(sink.sink_map_err(io::Error::other))));
    tokio::io::join(reader, writer)
}
