//! TLS material for rustls: certificates that are replaced while connections go on.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use crate::authority::Issued;
use crate::error::Error;

/// A certificate, of a server or a client, that can be replaced at any time; new connections see the new one.
#[derive(Debug)]
pub struct RotatingCertificate(ArcSwap<CertifiedKey>);

impl RotatingCertificate {
    /// Starts with a certificate.
    pub fn new(issued: &Issued) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified(issued)?))))
    }

    /// Replaces it.
    pub fn replace(&self, issued: &Issued) -> Result<(), Error> {
        self.0.store(Arc::new(certified(issued)?));
        Ok(())
    }
}

impl ResolvesServerCert for RotatingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl ResolvesClientCert for RotatingCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// TLS settings of a client that shows `certificate` and trusts servers signed by `server_ca_pem`.
pub fn client_config(certificate: Arc<RotatingCertificate>, server_ca_pem: &str) -> Result<ClientConfig, Error> {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider())).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(trust_only(server_ca_pem)?).with_client_cert_resolver(certificate))
}

/// A trust store with the certificates of one PEM text and no others.
pub fn trust_only(pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_from_pem(pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// All certificates of a PEM text.
pub fn certificates_from_pem(pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|e| Error::Unusable {
        path: "a PEM text".to_owned(),
        what: "certificate",
        why: e.to_string(),
    })
}

fn parts(issued: &Issued) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).map_err(|e| Error::Unusable {
        path: "a PEM text".to_owned(),
        what: "private key",
        why: e.to_string(),
    })?;
    Ok((certificates_from_pem(&issued.certificate_pem)?, key))
}

fn certified(issued: &Issued) -> Result<CertifiedKey, Error> {
    let (chain, key) = parts(issued)?;
    let signer = rustls::crypto::ring::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, signer))
}
