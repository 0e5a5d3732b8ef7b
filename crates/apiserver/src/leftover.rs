//! What is left of a request's body when its answer is made without it (a 403, a 405).
//!
//! Over HTTP/2, dropping an unread body resets the stream, and some clients (curl 7.88 among them) then lose the answer. Go's
//! server reads on for a while, and so does this one.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use crate::body::{self, Body, BoxError};

/// How much is read on at most, as in Go's server. The stream of a longer body is reset.
const MOST: usize = 256 * 1024;
/// How long is waited for it.
const PATIENCE: Duration = Duration::from_millis(500);

struct Lent {
    body: Option<Body>,
    back: Option<oneshot::Sender<Body>>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.body.as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !http_body::Body::is_end_stream(&body)
        {
            // Nobody waits any more when the request itself was given up.
            let _ = back.send(body);
        }
    }
}

/// Where a lent body comes back to.
pub(crate) struct Leftover(oneshot::Receiver<Body>);

/// The body to hand on, and what gets it back when it is dropped unread.
pub(crate) fn lend(body: Body) -> (Body, Leftover) {
    let (back, left) = oneshot::channel();
    (Lent { body: Some(body), back: Some(back) }.boxed_unsync(), Leftover(left))
}

impl Leftover {
    /// Reads what came back by now, within bounds. The answer is how many bytes that was, if it was everything.
    pub(crate) async fn drain(mut self) -> Option<usize> {
        let body = self.0.try_recv().ok()?;
        let read = tokio::time::timeout(PATIENCE, body::read(body, MOST)).await;
        read.ok()?.ok().map(|bytes| bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unread_body_comes_back_and_a_read_one_does_not() {
        let (lent, left) = lend(body::full("abc"));
        drop(lent);
        assert_eq!(left.drain().await, Some(3));
        let (lent, left) = lend(body::full("abc"));
        assert_eq!(body::read(lent, 10).await.unwrap(), "abc");
        assert_eq!(left.drain().await, None);
        let (lent, left) = lend(body::full(vec![0; MOST + 1]));
        drop(lent);
        assert_eq!(left.drain().await, None);
    }
}
