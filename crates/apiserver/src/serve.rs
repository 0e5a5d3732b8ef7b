//! The TLS front: HTTP/1.1 and HTTP/2 on one port, with upgrades.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::body;
use crate::identity::Peer;
use crate::leftover;
use crate::pipeline::Caller;
use crate::server::Server;

/// How many connections may be open. More wait in the kernel's queue until one closes.
const MOST_CONNECTIONS: usize = 16_384;
/// How long a TLS handshake may take before the connection is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many requests one HTTP/2 connection may have open (upstream's default is 100 for anonymous ones; informers need more).
const MOST_STREAMS: u32 = 1000;
/// How long open requests may go on after the server was told to end. Watches and followed logs end at once: their
/// clients come again by themselves.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the listener rests after a failed accept (mostly: no file descriptors left).
const REST: Duration = Duration::from_millis(100);

/// Serves the listener until `stop`. `tls` must ask for client certificates without requiring them.
pub async fn serve(server: Arc<Server>, listener: TcpListener, tls: Arc<rustls::ServerConfig>, stop: CancellationToken) {
    let acceptor = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let open = tokio_util::task::TaskTracker::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let (server, acceptor, stop) = (server.clone(), acceptor.clone(), stop.clone());
                open.spawn(async move {
                    let _place = place;
                    connection(server, acceptor, stream, address, stop).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(REST).await;
            }
        }
    }
    open.close();
    if tokio::time::timeout(DRAIN, open.wait()).await.is_err() {
        tracing::info!("some requests were still open when the server ended");
    }
}

async fn connection(server: Arc<Server>, acceptor: TlsAcceptor, stream: TcpStream, address: SocketAddr, stop: CancellationToken) {
    // Watch events are small and must not wait for company.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let peer = Peer { address: Some(address), certificates: certificates.iter().map(|c| c.to_vec()).collect() };
    let ending = stop.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (server, peer, ending, uri) = (server.clone(), peer.clone(), ending.clone(), request.uri().clone());
        async move {
            let (parts, body) = request.into_parts();
            let (body, left) = leftover::lend(body.map_err(Into::into).boxed_unsync());
            let response = server.handle(http::Request::from_parts(parts, body), Caller::Connection(peer)).await;
            left.drain().await;
            let known = http_body::Body::size_hint(response.body()).exact().is_some();
            let endless = !known && goes_on(&uri);
            Ok::<_, std::convert::Infallible>(if endless { response.map(|b| body::until(b, ending.cancelled_owned())) } else { response })
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MOST_STREAMS).adaptive_window(true);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %address, "a connection broke");
    }
}

/// Whether what is asked for has no end of its own: a watch, or a log that is followed.
fn goes_on(uri: &http::Uri) -> bool {
    let asked = |name: &str| uri.query().unwrap_or_default().split('&').any(|pair| pair.split('=').next() == Some(name));
    asked("watch") || asked("follow") || uri.path().contains("/watch/")
}

/// Takes every client certificate whose key the client proves to hold; who vouches for it is the authenticator's question,
/// as for Go's `RequestClientCert`.
#[derive(Debug)]
pub struct AnyClientCertificate(Arc<rustls::crypto::CryptoProvider>);

impl AnyClientCertificate {
    /// With the signature schemes of a provider.
    pub fn new(provider: Arc<rustls::crypto::CryptoProvider>) -> Arc<Self> {
        Arc::new(Self(provider))
    }
}

impl rustls::server::danger::ClientCertVerifier for AnyClientCertificate {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::server::danger::ClientCertVerified, rustls::Error> {
        Ok(rustls::server::danger::ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The TLS settings of the front; `resolver` holds the serving certificate and may renew it in place.
pub fn tls_config(resolver: Arc<dyn rustls::server::ResolvesServerCert>) -> Result<Arc<rustls::ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = AnyClientCertificate::new(provider.clone());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_and_followed_logs_have_no_end() {
        let cases = [
            ("/api/v1/pods?limit=5&watch=true", true),
            ("/api/v1/namespaces/a/pods/b/log?follow=true", true),
            ("/api/v1/watch/pods", true),
            ("/api/v1/namespaces/watch", false),
            ("/api/v1/pods?labelSelector=watch", false),
        ];
        for (uri, expected) in cases {
            assert_eq!(goes_on(&uri.parse().unwrap()), expected, "{uri}");
        }
    }
}
