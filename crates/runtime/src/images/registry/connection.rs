//! HTTP to one registry: which certificates to trust, when to fall back to plain HTTP, how to answer challenges.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST, LOCATION, USER_AGENT, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use super::super::credentials::Credentials;
use super::super::error::Error;
use super::token::{self, Challenge};

const REDIRECTS_MAX: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// From the request to the head of the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const TOKEN_ANSWER_MAX_BYTES: usize = 1 << 20;
const SYSTEM_AUTHORITIES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Makes connections.
pub(super) struct Connector {
    certificates: PathBuf,
}

/// An answer whose body is still to be read.
pub(super) struct Response {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    pub(super) body: Incoming,
}

/// Requests to one registry for one pull.
pub(super) struct Session<'a> {
    connector: &'a Connector,
    registry: String,
    image: String,
    credentials: &'a Credentials,
    authorization: Mutex<Option<String>>,
}

impl Connector {
    pub(super) fn new(certificates: PathBuf) -> Self {
        Self { certificates }
    }

    pub(super) fn session<'a>(&'a self, registry: &str, image: &str, credentials: &'a Credentials) -> Session<'a> {
        // Docker Hub's API has another name than its images.
        let registry = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let authorization = match credentials {
            Credentials::Bearer(_) => credentials.header(),
            // Passwords are shown only when asked for.
            _ => None,
        };
        Session {
            connector: self,
            registry: registry.to_owned(),
            image: image.to_owned(),
            credentials,
            authorization: Mutex::new(authorization),
        }
    }

    /// System authorities and the registry's own. Read for each pull, so that a new file needs no restart.
    fn trusted(&self, host: &str) -> RootCertStore {
        let own = self.certificates.join(host).join("ca.crt");
        let mut roots = RootCertStore::empty();
        for path in SYSTEM_AUTHORITIES.iter().map(PathBuf::from).chain([own]) {
            let Ok(pem) = std::fs::read(&path) else { continue };
            roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
        }
        roots
    }

    async fn send(&self, request: Request<Empty<Bytes>>) -> Result<hyper::Response<Incoming>, String> {
        let uri = request.uri().clone();
        let authority = uri.authority().ok_or("the URL names no host")?;
        let plain = uri.scheme_str() == Some("http");
        let port = authority.port_u16().unwrap_or(if plain { 80 } else { 443 });
        let connect = TcpStream::connect((authority.host().trim_matches(['[', ']']), port));
        let tcp = tokio::time::timeout(CONNECT_TIMEOUT, connect).await.map_err(|_| "dial tcp: i/o timeout")?;
        let tcp = tcp.map_err(|e| format!("dial tcp {authority}: {e}"))?;
        if plain {
            return answer(TokioIo::new(tcp), request).await;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(self.trusted(authority.as_str()))
            .with_no_client_auth();
        let name = ServerName::try_from(authority.host().trim_matches(['[', ']']).to_owned()).map_err(|e| e.to_string())?;
        let handshake = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let tls = tokio::time::timeout(CONNECT_TIMEOUT, handshake).await.map_err(|_| "TLS handshake timeout")?;
        answer(TokioIo::new(tls.map_err(|e| format!("tls: {e}"))?), request).await
    }
}

impl Session<'_> {
    /// GETs a path of the registry, answering one challenge and following redirects.
    pub(super) async fn get(&self, path: &str, accept: &str) -> Result<Response, Error> {
        let first = self.follow(path, accept).await?;
        if first.status != StatusCode::UNAUTHORIZED {
            return self.checked(path, first);
        }
        let challenges = first.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenges.filter_map(|h| token::parse(h.to_str().ok()?)).next();
        let authorization = match challenge {
            Some(Challenge::Basic) => self.credentials.header(),
            Some(Challenge::Bearer { realm, parameters }) => Some(self.fetch_token(&realm, &parameters, path).await?),
            None => None,
        };
        if authorization.is_none() {
            return Err(self.denied(path, first.status));
        }
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = authorization;
        let second = self.follow(path, accept).await?;
        self.checked(path, second)
    }

    fn checked(&self, path: &str, response: Response) -> Result<Response, Error> {
        match response.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied(path, response.status)),
            _ => Ok(response),
        }
    }

    async fn follow(&self, path: &str, accept: &str) -> Result<Response, Error> {
        let mut url = format!("https://{}{path}", self.registry);
        let mut authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut sent = self.request(&url, accept, authorization.as_deref()).await;
            if sent.is_err() && url.starts_with("https://") && is_loopback(&self.registry) {
                // As Docker does: a registry on this very machine may do without TLS.
                url = url.replacen("https://", "http://", 1);
                sent = self.request(&url, accept, authorization.as_deref()).await;
            }
            let response = sent.map_err(|why| self.unreachable(&url, &why))?;
            let location = response.headers.get(LOCATION).and_then(|l| l.to_str().ok());
            let Some(location) = location.filter(|_| response.status.is_redirection()) else { return Ok(response) };
            let next = absolute(&url, location);
            if host_of(&next) != host_of(&url) {
                authorization = None;
            }
            url = next;
        }
        Err(self.unreachable(&url, &"too many redirects"))
    }

    async fn request(&self, url: &str, accept: &str, authorization: Option<&str>) -> Result<Response, String> {
        let uri: Uri = url.parse().map_err(|e| format!("{e}"))?;
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut request = Request::get(&uri).header(HOST, host).header(ACCEPT, accept).header(USER_AGENT, "ferry");
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Empty::new()).map_err(|e| format!("{path}: {e}"))?;
        let response = self.connector.send(request).await?;
        let (head, body) = response.into_parts();
        Ok(Response { status: head.status, headers: head.headers, body })
    }

    async fn fetch_token(&self, realm: &str, parameters: &std::collections::BTreeMap<String, String>, path: &str) -> Result<String, Error> {
        let repository =
            path.trim_start_matches("/v2/").rsplit_once("/manifests/").or_else(|| path.trim_start_matches("/v2/").rsplit_once("/blobs/"));
        let scope = format!("repository:{}:pull", repository.map_or("", |(name, _)| name));
        let url = token::url(realm, parameters, &scope);
        let response = self.request(&url, "application/json", self.credentials.header().as_deref()).await;
        let response = response.map_err(|why| self.unreachable(&url, &why))?;
        if response.status != StatusCode::OK {
            return Err(self.denied(&url, response.status));
        }
        let body = Limited::new(response.body, TOKEN_ANSWER_MAX_BYTES).collect().await.map_err(|e| self.unreachable(&url, &e))?;
        let token = token::from_answer(&body.to_bytes()).ok_or_else(|| self.unreachable(&url, &"the answer holds no token"))?;
        Ok(format!("Bearer {token}"))
    }

    pub(super) fn unreachable(&self, url: &str, why: &dyn std::fmt::Display) -> Error {
        Error::Unreachable { image: self.image.clone(), url: url.to_owned(), why: why.to_string() }
    }

    pub(super) fn unexpected(&self, url: &str, status: StatusCode) -> Error {
        Error::Status { image: self.image.clone(), url: url.to_owned(), status: status.as_u16() }
    }

    fn denied(&self, url: &str, status: StatusCode) -> Error {
        Error::Denied { image: self.image.clone(), url: url.to_owned(), status: status.as_u16() }
    }
}

async fn answer<S>(stream: TokioIo<S>, mut request: Request<Empty<Bytes>>) -> Result<hyper::Response<Incoming>, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let origin_form = request.uri().path_and_query().map_or_else(|| "/".to_owned(), |p| p.as_str().to_owned());
    *request.uri_mut() = origin_form.parse().map_err(|e| format!("{e}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.map_err(|e| e.to_string())?;
    // Ends by itself when the body has been read or dropped.
    tokio::spawn(connection);
    let sent = tokio::time::timeout(ANSWER_TIMEOUT, sender.send_request(request)).await;
    sent.map_err(|_| "timed out waiting for the answer".to_owned())?.map_err(|e| e.to_string())
}

fn absolute(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let scheme = if base.starts_with("http://") { "http" } else { "https" };
    format!("{scheme}://{}{location}", host_of(base))
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
