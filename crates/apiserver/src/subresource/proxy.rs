//! `proxy` of nodes, pods and services: any HTTP request to what they serve.

use std::sync::Arc;

use api::ApiError;
use http::{Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;

use super::connect::{self, Onward, Target};
use super::kubelet;
use crate::body::{self, Body};
use crate::call::Call;

/// `[scheme:]name[:port]`.
struct Named<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

fn named(text: &str) -> Result<Named<'_>, ApiError> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [name] => Ok(Named { scheme: "", name, port: "" }),
        [name, port] => Ok(Named { scheme: "", name, port }),
        [scheme @ ("http" | "https" | ""), name, port] => Ok(Named { scheme, name, port }),
        _ => Err(ApiError::bad_request(format!("invalid request {text:?}"))),
    }
}

/// Answers the request.
pub(super) async fn serve(call: &Call, method: Method, body: Body, upgrade: Option<OnUpgrade>) -> Result<Response<Body>, ApiError> {
    // A browser that asks for the root without a slash would resolve links one level too high.
    if call.info.rest.is_empty() && !call.info.path.ends_with('/') && matches!(method, Method::GET | Method::HEAD) {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        let location = http::HeaderValue::from_str(&format!("{}/", call.info.path)).map_err(ApiError::internal)?;
        response.headers_mut().insert(http::header::LOCATION, location);
        return Ok(response);
    }
    let named = named(&call.info.name)?;
    let target = match call.plural() {
        "nodes" => node(call, &named)?,
        "pods" => pod(call, &named)?,
        _ => service(call, &named)?,
    };
    let query = query(call);
    let onward = Onward { method, path: format!("/{}{query}", call.info.rest), headers: call.headers.clone(), body, upgrade };
    connect::forward(&target, onward).await
}

fn query(call: &Call) -> String {
    let text = call.query.encode();
    if text.is_empty() { text } else { format!("?{text}") }
}

fn tls(scheme: &str) -> Option<Arc<rustls::ClientConfig>> {
    (scheme == "https").then(unverified)
}

fn port(text: &str, default: u16) -> Result<u16, ApiError> {
    if text.is_empty() {
        return Ok(default);
    }
    text.parse().map_err(|_| ApiError::bad_request(format!("invalid port {text:?}")))
}

fn node(call: &Call, named: &Named<'_>) -> Result<Target, ApiError> {
    let mut target = kubelet::kubelet(call, named.name)?;
    if !named.port.is_empty() {
        target.port = port(named.port, target.port)?;
        target.tls = tls(named.scheme);
    }
    Ok(target)
}

fn pod(call: &Call, named: &Named<'_>) -> Result<Target, ApiError> {
    let found = call.server.find("", "pods", &call.info.namespace, named.name);
    let pod = found.ok_or_else(|| ApiError::not_found("", "pods", named.name))?.tree();
    let host = pod.pointer("/status/podIP").and_then(Value::as_str).filter(|ip| !ip.is_empty());
    let host = host.ok_or_else(|| ApiError::bad_request("address not allowed"))?;
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
    let ports: Vec<&Value> = containers.iter().filter_map(|c| c.get("ports")?.as_array()).flatten().collect();
    let number = |p: &Value| p.get("containerPort").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok());
    let by_name = ports.iter().find(|p| p.get("name").is_some_and(|n| n == named.port)).and_then(|p| number(p));
    let first = ports.first().and_then(|p| number(p)).unwrap_or(80);
    let port = match by_name {
        Some(port) => port,
        None => port(named.port, first)?,
    };
    Ok(Target { host: host.to_owned(), port, tls: tls(named.scheme) })
}

/// A ready endpoint of the service.
fn service(call: &Call, named: &Named<'_>) -> Result<Target, ApiError> {
    let unavailable = |why: String| ApiError::new(503, api::Reason::ServiceUnavailable, why);
    let found = call.server.find("", "services", &call.info.namespace, named.name);
    let service = found.ok_or_else(|| ApiError::not_found("", "services", named.name))?.tree();
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let matches = |p: &&Value| {
        let number = p.get("port").and_then(Value::as_u64).map(|n| n.to_string()).unwrap_or_default();
        named.port.is_empty() || number == named.port || p.get("name").is_some_and(|n| n == named.port)
    };
    let Some(port) = ports.iter().find(matches) else {
        return Err(unavailable(format!("no service port {:?} found for service {:?}", named.port, named.name)));
    };
    let port_name = port.get("name").and_then(Value::as_str).unwrap_or_default();
    let slices = call.server.all("discovery.k8s.io", "endpointslices", &call.info.namespace);
    let mut targets = Vec::new();
    for slice in slices.iter().map(|s| s.tree()) {
        if api::meta::label(&slice, "kubernetes.io/service-name") != Some(named.name) {
            continue;
        }
        let ports = slice.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
        let found = ports.iter().find(|p| p.get("name").and_then(Value::as_str).unwrap_or_default() == port_name);
        let Some(number) = found.and_then(|p| p.get("port")?.as_u64()).and_then(|n| u16::try_from(n).ok()) else { continue };
        for endpoint in slice.get("endpoints").and_then(Value::as_array).into_iter().flatten() {
            let ready = endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
            if let (true, Some(address)) = (ready, endpoint.pointer("/addresses/0").and_then(Value::as_str)) {
                targets.push((address.to_owned(), number));
            }
        }
    }
    let pick = usize::try_from(call.server.prng.below(targets.len() as u64)).unwrap_or(0);
    let Some((host, port)) = targets.into_iter().nth(pick) else {
        return Err(unavailable(format!("no endpoints available for service {:?}", named.name)));
    };
    Ok(Target { host, port, tls: tls(named.scheme) })
}

/// As upstream, the proxy does not verify what applications show: their certificates are their own business.
fn unverified() -> Arc<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Unverified(provider.clone()));
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(rustls::ALL_VERSIONS);
    match builder {
        Ok(builder) => Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()),
        Err(_) => Arc::new(rustls::ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()),
    }
}

#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
