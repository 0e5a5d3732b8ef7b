//! One connection with its streams.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::frame::{self, Frame};
use super::headers::{Decoder, Encoder};
use crate::channel::{PIECES_MAX, Piece, Reader, Writer};
use crate::error::Error;

/// Frames that wait to be written; writers wait when it is full.
const QUEUE_MAX: usize = 32;
/// Streams that are open at once; a peer that opens more is reset.
const STREAMS_MAX: usize = 1024;
const REFUSED_STREAM: u32 = 3;

/// Which end of the connection this is: clients open odd streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the connection.
    Client,
    /// Accepted it.
    Server,
}

/// A connection. It is closed when this and all its streams have been dropped, or by [`Session::close`].
pub struct Session {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Frame>,
    next: AtomicU32,
}

/// One stream, in both directions.
pub struct Stream {
    /// Its number on the connection.
    pub id: u32,
    /// The headers that it was opened with; names are in lower case.
    pub headers: Vec<(String, String)>,
    /// What the peer sends.
    pub reader: Reader,
    /// What the peer gets; shutting it down ends our direction.
    pub writer: Writer<Frame>,
}

#[derive(Default)]
struct Shared {
    streams: Mutex<HashMap<u32, mpsc::Sender<Bytes>>>,
}

impl Session {
    /// Runs the protocol on a connection; the receiver yields the streams that the peer opens.
    pub fn start<T>(io: T, role: Role) -> Result<(Self, mpsc::Receiver<Stream>), Error>
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read_half, write_half) = tokio::io::split(io);
        let (queue, frames) = mpsc::channel(QUEUE_MAX);
        let (opened, incoming) = mpsc::channel(PIECES_MAX);
        let shared = Arc::new(Shared::default());
        tokio::spawn(write_all(write_half, frames, Encoder::new()?));
        let receiver = Receiver { shared: shared.clone(), queue: queue.downgrade(), opened };
        tokio::spawn(async move {
            if let Err(error) = receiver.run(read_half).await {
                tracing::debug!(%error, "spdy connection ended");
            }
        });
        let next = AtomicU32::new(if role == Role::Client { 1 } else { 2 });
        Ok((Self { shared, queue, next }, incoming))
    }

    /// Opens a stream to the peer.
    pub async fn open(&self, headers: &[(&str, &str)]) -> Result<Stream, Error> {
        let id = self.next.fetch_add(2, Ordering::Relaxed);
        let headers: Vec<(String, String)> = headers.iter().map(|(k, v)| (k.to_ascii_lowercase(), (*v).to_owned())).collect();
        let (sender, reader) = Reader::new();
        self.shared.lock().insert(id, sender);
        let sent = self.queue.send(Frame::Open { stream: id, headers: headers.clone(), last: false }).await;
        sent.map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        Ok(Stream { id, headers, reader, writer: writer(self.queue.clone(), id) })
    }

    /// Says goodbye; what was queued before is still sent.
    pub async fn close(self) {
        // A peer that is gone already needs no goodbye.
        let _ = self.queue.send(Frame::GoAway { last_good: 0 }).await;
    }
}

impl Stream {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, mpsc::Sender<Bytes>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn writer(queue: mpsc::Sender<Frame>, stream: u32) -> Writer<Frame> {
    Writer::new(queue, move |piece| {
        Some(match piece {
            Piece::Data(data) => Frame::Data { stream, data: Bytes::copy_from_slice(data), last: false },
            Piece::End => Frame::Data { stream, data: Bytes::new(), last: true },
        })
    })
}

async fn write_all<T: AsyncWrite>(mut io: WriteHalf<T>, mut frames: mpsc::Receiver<Frame>, mut encoder: Encoder) {
    while let Some(frame) = frames.recv().await {
        let goodbye = frame_is_goodbye(&frame);
        let Ok(bytes) = frame::write(&frame, &mut encoder) else { break };
        if io.write_all(&bytes).await.is_err() || (frames.is_empty() && io.flush().await.is_err()) || goodbye {
            break;
        }
    }
    let _ = io.shutdown().await;
}

fn frame_is_goodbye(frame: &Frame) -> bool {
    matches!(frame, Frame::GoAway { .. })
}

struct Receiver {
    shared: Arc<Shared>,
    /// Weak, so that the connection ends when nobody uses it any more.
    queue: mpsc::WeakSender<Frame>,
    opened: mpsc::Sender<Stream>,
}

impl Receiver {
    async fn run<T: AsyncRead>(self, mut io: ReadHalf<T>) -> Result<(), Error> {
        let mut decoder = Decoder::new();
        let result = loop {
            match frame::read(&mut io, &mut decoder).await {
                Ok(Some(Frame::GoAway { .. }) | None) => break Ok(()),
                Ok(Some(frame)) => self.handle(frame).await,
                Err(error) => break Err(error),
            }
        };
        self.shared.lock().clear();
        result
    }

    async fn handle(&self, frame: Frame) {
        match frame {
            Frame::Open { stream, headers, last } => self.accept(stream, headers, last).await,
            Frame::Data { stream, data, last } => self.deliver(stream, data, last).await,
            Frame::Reply { stream, last: true, .. } | Frame::Headers { stream, last: true } | Frame::Reset { stream, .. } => {
                self.shared.lock().remove(&stream);
            }
            Frame::Ping(id) => self.send(Frame::Ping(id)).await,
            Frame::Reply { .. } | Frame::Headers { .. } | Frame::Window { .. } | Frame::GoAway { .. } | Frame::Ignored => {}
        }
    }

    async fn accept(&self, id: u32, headers: Vec<(String, String)>, last: bool) {
        let Some(queue) = self.queue.upgrade() else { return };
        let (sender, reader) = Reader::new();
        let full = {
            let mut streams = self.shared.lock();
            let full = streams.len() >= STREAMS_MAX || streams.contains_key(&id);
            if !full && !last {
                streams.insert(id, sender);
            }
            full
        };
        if full {
            return self.send(Frame::Reset { stream: id, status: REFUSED_STREAM }).await;
        }
        self.send(Frame::Reply { stream: id, headers: Vec::new(), last: false }).await;
        let headers = headers.into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v)).collect();
        let stream = Stream { id, headers, reader, writer: writer(queue, id) };
        if self.opened.send(stream).await.is_err() {
            self.shared.lock().remove(&id);
            self.send(Frame::Reset { stream: id, status: REFUSED_STREAM }).await;
        }
    }

    async fn deliver(&self, stream: u32, data: Bytes, last: bool) {
        let reader = self.shared.lock().get(&stream).cloned();
        let bytes = u32::try_from(data.len()).unwrap_or(0);
        if let (Some(reader), false) = (reader, data.is_empty()) {
            // A reader that is gone does not want the data any more.
            let _ = reader.send(data).await;
        }
        if last {
            self.shared.lock().remove(&stream);
        } else if bytes > 0 {
            self.send(Frame::Window { stream, bytes }).await;
        }
    }

    async fn send(&self, frame: Frame) {
        if let Some(queue) = self.queue.upgrade() {
            let _ = queue.send(frame).await;
        }
    }
}
