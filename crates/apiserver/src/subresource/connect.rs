//! A connection onwards: to a kubelet or an application, with upgrades passed through byte by byte.

use std::sync::Arc;

use api::ApiError;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::body::{self, Body};

/// How long the other side may take to be reached.
const REACH: std::time::Duration = std::time::Duration::from_secs(30);

/// Where to connect to.
pub(super) struct Target {
    /// Host or address, without brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// TLS with these settings; `None` is plain.
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

/// A request to pass on.
pub(super) struct Onward {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) upgrade: Option<OnUpgrade>,
}

/// Passes the request on and the answer back.
pub(super) async fn forward(target: &Target, onward: Onward) -> Result<Response<Body>, ApiError> {
    let failed = |what: &str, e: &dyn std::fmt::Display| {
        let message = format!("error {what} {}:{}: {e}", target.host, target.port);
        ApiError::new(503, api::Reason::ServiceUnavailable, message)
    };
    let reach = tokio::time::timeout(REACH, TcpStream::connect((target.host.as_str(), target.port)));
    let stream = match reach.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(failed("dialing backend", &e)),
        Err(_) => return Err(failed("dialing backend", &"timeout")),
    };
    let _ = stream.set_nodelay(true);
    match &target.tls {
        None => exchange(target, stream, onward).await,
        Some(config) => {
            let name = rustls::pki_types::ServerName::try_from(target.host.clone()).map_err(|e| failed("naming backend", &e))?;
            let connector = TlsConnector::from(config.clone());
            let handshake = tokio::time::timeout(REACH, connector.connect(name, stream)).await;
            let stream = match handshake {
                Ok(Ok(stream)) => stream,
                Ok(Err(e)) => return Err(failed("making TLS with backend", &e)),
                Err(_) => return Err(failed("making TLS with backend", &"timeout")),
            };
            exchange(target, stream, onward).await
        }
    }
}

async fn exchange<S>(target: &Target, stream: S, onward: Onward) -> Result<Response<Body>, ApiError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |e: hyper::Error| {
        ApiError::new(502, api::Reason::InternalError, format!("error talking to backend {}:{}: {e}", target.host, target.port))
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a passed-on connection broke");
        }
    });
    let uri: Uri = onward.path.parse().map_err(|e| ApiError::bad_request(format!("bad path: {e}")))?;
    let mut request = Request::new(onward.body);
    *request.method_mut() = onward.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = passed_on(&onward.headers, onward.upgrade.is_some());
    let host =
        if target.host.contains(':') { format!("[{}]:{}", target.host, target.port) } else { format!("{}:{}", target.host, target.port) };
    request.headers_mut().insert(HOST, HeaderValue::from_str(&host).map_err(ApiError::internal)?);
    let mut response = sender.send_request(request).await.map_err(broken)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(splice(response, onward.upgrade));
    }
    let upgrade = hyper::upgrade::on(&mut response);
    drop(upgrade);
    let (mut parts, incoming) = response.into_parts();
    parts.headers.remove(CONNECTION);
    parts.headers.remove(TRANSFER_ENCODING);
    Ok(Response::from_parts(parts, incoming.map_err(Into::into).boxed_unsync()))
}

/// The client's own credentials stay here.
fn passed_on(headers: &HeaderMap, upgrades: bool) -> HeaderMap {
    let private = |name: &HeaderName| *name == AUTHORIZATION || *name == HOST || name.as_str().starts_with("impersonate-");
    let hop = |name: &HeaderName| !upgrades && (*name == CONNECTION || *name == TRANSFER_ENCODING || name.as_str() == "upgrade");
    headers.iter().filter(|(n, _)| !private(n) && !hop(n)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// Joins both upgraded connections until either ends.
fn splice(mut response: Response<hyper::body::Incoming>, client: Option<OnUpgrade>) -> Response<Body> {
    let backend = hyper::upgrade::on(&mut response);
    if let Some(client) = client {
        tokio::spawn(async move {
            let (Ok(client), Ok(backend)) = (client.await, backend.await) else { return };
            let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
            if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut backend).await {
                tracing::debug!(%error, "a spliced connection broke");
            }
        });
    }
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, body::empty())
}
