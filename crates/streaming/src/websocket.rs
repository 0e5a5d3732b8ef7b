//! Numbered channels over one WebSocket: the first byte of each message names the channel
//! (`channel.k8s.io` and its later versions; with `base64` it is a digit, and the rest base64).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode};

use crate::channel::{Piece, Writer};
use crate::error::Error;

/// Messages that wait to be sent; writers wait when it is full.
const QUEUE_MAX: usize = 32;
/// A larger message ends the connection; kubectl sends at most 32 KiB.
const MESSAGE_MAX_BYTES: usize = 4 << 20;
/// Version 5: "this channel is closed", the channel follows.
const CLOSE_CHANNEL: u8 = 255;

pub(crate) type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// How channel messages look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Binary,
    Base64,
}

/// The sending side, for any number of writers.
#[derive(Clone)]
pub(crate) struct Outbound {
    queue: mpsc::Sender<Message>,
    framing: Framing,
}

pub(crate) async fn socket(upgraded: hyper::upgrade::Upgraded) -> Socket {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX_BYTES)).max_frame_size(Some(MESSAGE_MAX_BYTES));
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await
}

/// Runs both directions. Data for a channel that is not in `inbound` is dropped, as upstream does.
pub(crate) fn start(socket: Socket, framing: Framing, inbound: HashMap<u8, mpsc::Sender<Bytes>>) -> Outbound {
    let (sink, stream) = socket.split();
    let (queue, messages) = mpsc::channel(QUEUE_MAX);
    tokio::spawn(send_all(sink, messages));
    tokio::spawn(receive_all(stream, framing, inbound));
    Outbound { queue, framing }
}

impl Outbound {
    /// A writer that sends on a channel; ending it tells the peer nothing, since only clients close channels.
    pub(crate) fn writer(&self, channel: u8) -> Writer<Message> {
        let framing = self.framing;
        Writer::new(self.queue.clone(), move |piece| match piece {
            Piece::Data(data) => Some(message(framing, channel, data)),
            Piece::End => None,
        })
    }

    /// Sends one whole message on a channel.
    pub(crate) async fn send(&self, channel: u8, data: &[u8]) -> Result<(), Error> {
        self.push(message(self.framing, channel, data)).await
    }

    /// Ends the connection in an orderly way.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.push(Message::Close(Some(frame))).await
    }

    async fn push(&self, message: Message) -> Result<(), Error> {
        let gone = |_| Error::Io(std::io::ErrorKind::BrokenPipe.into());
        self.queue.send(message).await.map_err(gone)
    }
}

fn message(framing: Framing, channel: u8, data: &[u8]) -> Message {
    match framing {
        Framing::Binary => {
            let mut out = Vec::with_capacity(data.len() + 1);
            out.push(channel);
            out.extend_from_slice(data);
            Message::Binary(out.into())
        }
        Framing::Base64 => Message::Text(format!("{channel}{}", STANDARD.encode(data)).into()),
    }
}

async fn send_all(mut sink: SplitSink<Socket, Message>, mut messages: mpsc::Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        let last = message.is_close();
        if sink.send(message).await.is_err() || last {
            return;
        }
    }
    let _ = sink.close().await;
}

async fn receive_all(mut stream: SplitStream<Socket>, framing: Framing, mut inbound: HashMap<u8, mpsc::Sender<Bytes>>) {
    while let Some(Ok(message)) = stream.next().await {
        let Some((channel, data)) = parse(framing, message) else { continue };
        if channel == CLOSE_CHANNEL {
            if let Some(closed) = data.first() {
                inbound.remove(closed);
            }
            continue;
        }
        if let Some(reader) = inbound.get(&channel)
            && !data.is_empty()
            && reader.send(data).await.is_err()
        {
            inbound.remove(&channel);
        }
    }
}

fn parse(framing: Framing, message: Message) -> Option<(u8, Bytes)> {
    match (framing, message) {
        (Framing::Binary, Message::Binary(data)) => data.first().copied().map(|channel| (channel, data.slice(1..))),
        (Framing::Base64, Message::Text(text)) => {
            let (channel, rest) = text.as_str().split_at_checked(1)?;
            let data = STANDARD.decode(rest).ok()?;
            Some((channel.parse().ok()?, data.into()))
        }
        _ => None,
    }
}
