//! Answers.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// The body of any answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A plain text.
pub(super) fn text(code: StatusCode, text: impl Into<String>) -> Response<Body> {
    of(code, "text/plain; charset=utf-8", text.into())
}

/// A JSON document.
pub(super) fn json(value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(text) => of(StatusCode::OK, "application/json", text),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Anything whole.
pub(super) fn of(code: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}

/// A body that grows.
pub(super) fn growing(chunks: mpsc::Receiver<Bytes>) -> Response<Body> {
    let frames = ReceiverStream::new(chunks).map(|chunk| Ok(Frame::data(chunk)));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// An answer without a body.
pub(super) fn empty(response: Response<()>) -> Response<Body> {
    response.map(|()| Full::new(Bytes::new()).boxed_unsync())
}
