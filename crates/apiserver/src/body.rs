//! Bodies: whole, chunked lists, endless streams.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};

/// Any failure of a body on its way.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every request and response; `kube::client::Body` converts to and from it, since both are `http_body::Body<Data = Bytes>`.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The pieces of a long body are gathered into chunks of about this many bytes, so that a list of many small objects costs few writes.
const CHUNK: usize = 128 * 1024;

/// A whole body in one piece.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// No body.
pub fn empty() -> Body {
    full(Bytes::new())
}

/// A body that goes on as long as the stream does.
pub fn stream<S>(stream: S) -> Body
where
    S: Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
{
    StreamBody::new(futures::StreamExt::map(stream, |piece| piece.map(Frame::data))).boxed_unsync()
}

/// The body, or as much of it as there is until `end`: it then ends properly, as if all had been said.
pub fn until(body: Body, end: impl Future<Output = ()> + Send + 'static) -> Body {
    let frames = http_body_util::BodyStream::new(body);
    StreamBody::new(futures::StreamExt::take_until(frames, Box::pin(end))).boxed_unsync()
}

/// A body of many pieces whose total length is known.
pub fn pieces(pieces: Vec<Bytes>) -> Body {
    let length = pieces.iter().map(|p| p.len() as u64).sum();
    Pieces { pieces: pieces.into(), length }.boxed_unsync()
}

struct Pieces {
    pieces: VecDeque<Bytes>,
    length: u64,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(first) = self.pieces.pop_front() else { return Poll::Ready(None) };
        if first.len() >= CHUNK || self.pieces.is_empty() {
            self.length = self.length.saturating_sub(first.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let mut chunk = BytesMut::with_capacity(CHUNK);
        chunk.extend_from_slice(&first);
        while chunk.len() < CHUNK {
            let Some(next) = self.pieces.pop_front() else { break };
            chunk.extend_from_slice(&next);
        }
        self.length = self.length.saturating_sub(chunk.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(chunk.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// Why a request's body was not taken.
#[derive(Debug)]
pub enum ReadError {
    /// It is longer than the bound.
    TooLarge,
    /// The connection broke.
    Broken(String),
}

/// Reads a whole body of at most `limit` bytes.
pub async fn read(mut body: Body, limit: usize) -> Result<Bytes, ReadError> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| ReadError::Broken(e.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len().saturating_add(all.len()).saturating_add(data.len()) > limit {
            return Err(ReadError::TooLarge);
        }
        // Most bodies are one frame, which needs no copy.
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endless_body_ends_when_it_is_told_to() {
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let endless = futures::StreamExt::chain(futures::stream::iter([Ok(Bytes::from_static(b"one"))]), futures::stream::pending());
        let mut body = until(stream(endless), async move { drop(ended.await) });
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        end.send(()).unwrap();
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn pieces_arrive_whole_and_in_order_and_the_bound_holds() {
        let all: Vec<Bytes> = (0..5000).map(|i| Bytes::from(format!("{i:0100}"))).collect();
        let expected: Vec<u8> = all.concat();
        let body = pieces(all.clone());
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(500_000));
        assert_eq!(read(body, 500_000).await.unwrap().to_vec(), expected);
        assert!(matches!(read(pieces(all), 499_999).await, Err(ReadError::TooLarge)));
    }
}
