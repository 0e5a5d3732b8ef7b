//! A small HTTP client for probes and hooks: one request per connection, no certificate checks, no proxies.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::check;

/// The most of an answer that is read.
const BODY_MAX: usize = 10 << 10;
/// Redirects that are followed, on the same host only.
const REDIRECTS: usize = 10;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    https: bool,
    host: String,
    port: u16,
    path: String,
    headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
    location: Option<String>,
}

/// `host:port`, with brackets where IPv6 needs them.
pub fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A failed connection in the words that users know from Go.
pub fn dial_error(address: &str, error: &std::io::Error) -> String {
    let text = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: connect: {text}")
}

impl Request {
    /// A request as an action describes it; `agent` is `probe` or `lifecycle`.
    pub fn new(action: &HTTPGetAction, container: &Container, pod_ip: &str, agent: &str) -> Result<Self, String> {
        let stated: Vec<(String, String)> = action.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect();
        let has = |name: &str| stated.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut headers = Vec::new();
        if !has("user-agent") {
            headers.push(("User-Agent".to_owned(), format!("kube-{agent}/1.36")));
        }
        if !has("accept") {
            headers.push(("Accept".to_owned(), "*/*".to_owned()));
        }
        headers.extend(stated);
        let path = action.path.as_deref().unwrap_or_default();
        Ok(Self {
            https: action.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https")),
            host: action.host.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| pod_ip.to_owned()),
            port: check::port(&action.port, container)?,
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            headers,
        })
    }

    /// The request's URL.
    pub fn url(&self) -> String {
        format!("{}://{}{}", if self.https { "https" } else { "http" }, join(&self.host, self.port), self.path)
    }

    /// The same request without TLS.
    pub fn plain(mut self) -> Self {
        self.https = false;
        self.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        self
    }

    /// Whether TLS is wanted.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Where a redirect leads, if on the same host.
    fn redirected(&self, location: &str) -> Option<Self> {
        let mut next = self.clone();
        if location.starts_with('/') {
            location.clone_into(&mut next.path);
            return Some(next);
        }
        let uri: http::Uri = location.parse().ok()?;
        if uri.host()?.trim_matches(['[', ']']) != self.host {
            return None;
        }
        next.https = uri.scheme_str() == Some("https");
        next.port = uri.port_u16().unwrap_or(if next.https { 443 } else { 80 });
        next.path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Some(next)
    }
}

/// Asks, and follows redirects on the same host; one to elsewhere is the answer.
pub async fn get(mut request: Request) -> Result<Answer, String> {
    for _ in 0..REDIRECTS {
        let answer = once(&request).await?;
        let redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
        match answer.location.as_deref().filter(|_| redirect).and_then(|l| request.redirected(l)) {
            Some(next) => request = next,
            None => return Ok(answer),
        }
    }
    Err(format!("stopped after {REDIRECTS} redirects"))
}

async fn once(request: &Request) -> Result<Answer, String> {
    let address = join(&request.host, request.port);
    let stream = TcpStream::connect((request.host.as_str(), request.port)).await.map_err(|e| dial_error(&address, &e))?;
    if !request.https {
        return exchange(stream, request).await;
    }
    let name = ServerName::try_from(request.host.clone()).map_err(|e| e.to_string())?;
    let config = tls::config().map_err(|e| e.to_string())?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| e.to_string())?;
    exchange(stream, request).await
}

async fn exchange<S>(stream: S, request: &Request) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = send(&mut sender, request).await;
    connection.abort();
    answer
}

async fn send(sender: &mut hyper::client::conn::http1::SendRequest<Empty<Bytes>>, request: &Request) -> Result<Answer, String> {
    let mut built = http::Request::builder().method("GET").uri(&request.path);
    if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        built = built.header("Host", join(&request.host, request.port));
    }
    for (name, value) in &request.headers {
        built = built.header(name, value);
    }
    let built = built.body(Empty::new()).map_err(|e| e.to_string())?;
    let response =
        sender.send_request(built).await.map_err(|e| if e.is_incomplete_message() { "EOF".to_owned() } else { e.to_string() })?;
    let status = response.status().as_u16();
    let location = response.headers().get("location").and_then(|l| l.to_str().ok()).map(str::to_owned);
    // A longer body is simply not told.
    let body = Limited::new(response.into_body(), BODY_MAX).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), location })
}

/// TLS without knowing the peer, as probes have always done it: they test whether a server answers, not who it is.
mod tls {
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    struct Anybody(Arc<CryptoProvider>);

    pub(super) fn config() -> Result<ClientConfig, Error> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth())
    }

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
        }
        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn server(answers: Vec<&'static str>) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                let n = stream.read(&mut request).await.unwrap();
                let echo = String::from_utf8_lossy(&request[..n]).lines().next().unwrap().to_owned();
                stream.write_all(answer.replace("ECHO", &echo).as_bytes()).await.unwrap();
            }
        });
        port
    }

    fn request(port: u16) -> Request {
        let action: HTTPGetAction = serde_json::from_value(json!({"path": "/x?y=1", "port": port})).unwrap();
        Request::new(&action, &Container::default(), "127.0.0.1", "probe").unwrap()
    }

    #[tokio::test]
    async fn answers_and_local_redirects() {
        let port = server(vec![
            "HTTP/1.1 302 F\r\nlocation: /new\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nECHO",
        ])
        .await;
        let answer = get(request(port)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "GET /new HTTP/1.1"));
        let port = server(vec!["HTTP/1.1 302 F\r\nlocation: http://elsewhere.example/\r\ncontent-length: 0\r\n\r\n"]).await;
        assert_eq!(get(request(port)).await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_in_known_words() {
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert_eq!(get(request(port)).await.unwrap_err(), format!("dial tcp 127.0.0.1:{port}: connect: connection refused"));
    }
}
