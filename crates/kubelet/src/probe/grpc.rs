//! The gRPC health check (`grpc.health.v1.Health/Check`), the one call that probes need.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::check::Outcome;
use super::http::{dial_error, join};
use crate::time;

const ANSWER_MAX: usize = 64 << 10;
const UNIMPLEMENTED: &str = "12";

/// Asks once.
pub(super) async fn check(host: &str, port: u16, service: &str, timeout: Duration) -> Outcome {
    let address = join(host, port);
    match tokio::time::timeout(timeout, call(host, port, &address, service)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failure(format!(
            "timeout: failed to connect service {address:?} within {}: context deadline exceeded",
            time::go(timeout)
        )),
    }
}

async fn call(host: &str, port: u16, address: &str, service: &str) -> Outcome {
    let stream = match TcpStream::connect((host, port)).await {
        Ok(stream) => stream,
        Err(error) => return Outcome::Failure(format!("error: failed to connect service at {address:?}: {}", dial_error(address, &error))),
    };
    let failed = |error: &dyn std::fmt::Display| Outcome::Failure(format!("error: health rpc probe failed: {error}"));
    let (mut sender, connection) = match hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await {
        Ok(made) => made,
        Err(error) => return failed(&error),
    };
    let connection = tokio::spawn(connection);
    let request = http::Request::builder()
        .method("POST")
        .uri(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(message(service)));
    let outcome = match request {
        Err(error) => failed(&error),
        Ok(request) => match sender.send_request(request).await {
            Err(error) => failed(&error),
            Ok(response) => answer(response).await,
        },
    };
    connection.abort();
    outcome
}

/// A length-prefixed message with one text field.
fn message(service: &str) -> Bytes {
    let mut body = BytesMut::new();
    if !service.is_empty() {
        body.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            body.put_u8((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        body.put_u8(length as u8);
        body.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(body.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    framed.put(body);
    framed.freeze()
}

async fn answer(response: http::Response<hyper::body::Incoming>) -> Outcome {
    let code = |headers: &http::HeaderMap| headers.get("grpc-status").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let text = |headers: &http::HeaderMap| headers.get("grpc-message").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (head, body) = response.into_parts();
    let collected = match Limited::new(body, ANSWER_MAX).collect().await {
        Ok(collected) => collected,
        Err(error) => return Outcome::Failure(format!("error: health rpc probe failed: {error}")),
    };
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let status = code(&trailers).or_else(|| code(&head.headers));
    let said = Some(text(&trailers)).filter(|t| !t.is_empty()).unwrap_or_else(|| text(&head.headers));
    match status.as_deref() {
        Some("0") => health(collected.to_bytes()),
        Some(UNIMPLEMENTED) => {
            Outcome::Failure(format!("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {said}"))
        }
        Some(code) => Outcome::Failure(format!("error: health rpc probe failed: rpc error: code = {code} desc = {said}")),
        None => Outcome::Failure(format!(
            "error: health rpc probe failed: unexpected HTTP status code received from server: {}",
            head.status.as_u16()
        )),
    }
}

/// Reads the status field of the answer's one message.
fn health(mut body: Bytes) -> Outcome {
    let status = if body.len() >= 7 {
        body.advance(5);
        if body.get_u8() == 0x08 { body.get_u8() } else { 0 }
    } else {
        0
    };
    let word = match status {
        1 => return Outcome::Success,
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    };
    Outcome::Failure(format!("service unhealthy (responded with {word:?})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages() {
        assert_eq!(message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(health(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])), Outcome::Success);
        assert_eq!(
            health(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 2])),
            Outcome::Failure("service unhealthy (responded with \"NOT_SERVING\")".into())
        );
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let _ = health(bytes.into());
        }
    }
}
