//! One direction of one stream inside a multiplexed connection, as an `AsyncRead` or `AsyncWrite`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

/// Pieces that wait in one direction of one stream. When it is full, the connection (inbound) or the writer (outbound) waits.
pub(crate) const PIECES_MAX: usize = 16;
/// The largest piece that is sent at once.
const PIECE_MAX_BYTES: usize = 32 << 10;

/// The reading end: what the peer sent on this stream.
pub struct Reader {
    pieces: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

/// The writing end: frames what it is given and queues it for the connection.
pub struct Writer<F> {
    queue: PollSender<F>,
    frame: Box<dyn Fn(Piece<'_>) -> Option<F> + Send>,
    ended: bool,
}

/// What a writer has to say.
pub(crate) enum Piece<'a> {
    Data(&'a [u8]),
    /// Nothing will follow.
    End,
}

impl Reader {
    pub(crate) fn new() -> (mpsc::Sender<Bytes>, Self) {
        let (sender, pieces) = mpsc::channel(PIECES_MAX);
        (sender, Self { pieces, rest: Bytes::new() })
    }
}

impl<F: Send + 'static> Writer<F> {
    pub(crate) fn new(queue: mpsc::Sender<F>, frame: impl Fn(Piece<'_>) -> Option<F> + Send + 'static) -> Self {
        Self { queue: PollSender::new(queue), frame: Box::new(frame), ended: false }
    }

    fn push(&mut self, context: &mut Context<'_>, piece: Piece<'_>) -> Poll<io::Result<()>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.queue.poll_reserve(context)).map_err(gone)?;
        if let Some(frame) = (self.frame)(piece) {
            self.queue.send_item(frame).map_err(gone)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.pieces.poll_recv(context)) {
                Some(piece) => self.rest = piece,
                None => return Poll::Ready(Ok(())),
            }
        }
        let n = self.rest.len().min(buffer.remaining());
        if let Some(part) = self.rest.get(..n) {
            buffer.put_slice(part);
        }
        self.rest.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<F: Send + 'static> AsyncWrite for Writer<F> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let piece = data.get(..data.len().min(PIECE_MAX_BYTES)).unwrap_or_default();
        if piece.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.push(context, Piece::Data(piece)))?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(self.push(context, Piece::End))?;
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}
