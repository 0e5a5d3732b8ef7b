//! Client certificates: the chain is checked here, since the handshake lets everybody in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Error;
use crate::identity::UserInfo;

/// Certificates whose chains were checked and need no second look. When there are more, all are checked again once.
const MAX_KNOWN: usize = 4096;
/// Where Kubernetes puts a UID in a certificate's subject.
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

/// Checks chains against a set of authorities.
pub(super) struct Verifier {
    roots: Arc<dyn ClientCertVerifier>,
    known: Mutex<HashMap<Vec<u8>, Known>>,
}

#[derive(Clone)]
struct Known {
    user: UserInfo,
    /// Seconds since the epoch between which the certificate is good.
    good: (i64, i64),
}

impl Verifier {
    pub(super) fn new(pem: &str, whose: &'static str) -> Result<Self, Error> {
        let refused = |why: String| Error::Authorities { whose, why };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|e| refused(e.to_string()))?;
            roots.add(certificate).map_err(|e| refused(e.to_string()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Ok(Self { roots: roots.map_err(|e| refused(e.to_string()))?, known: Mutex::default() })
    }

    /// The user that the chain (leaf first, DER) names, or why it is not believed.
    pub(super) fn user(&self, chain: &[Vec<u8>], now: SystemTime) -> Result<UserInfo, String> {
        let Some((leaf, rest)) = chain.split_first() else { return Err("no certificate was shown".to_owned()) };
        let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        if let Some(known) = self.lock().get(leaf)
            && (known.good.0..=known.good.1).contains(&seconds)
        {
            return Ok(known.user.clone());
        }
        let rest: Vec<CertificateDer<'_>> = rest.iter().map(|c| CertificateDer::from(c.as_slice())).collect();
        let verified = self.roots.verify_client_cert(&CertificateDer::from(leaf.as_slice()), &rest, UnixTime::since_unix_epoch(since));
        verified.map_err(|e| format!("verifying the client certificate: {e}"))?;
        let known = read(leaf)?;
        let user = known.user.clone();
        let mut all = self.lock();
        if all.len() >= MAX_KNOWN {
            all.clear();
        }
        all.insert(leaf.clone(), known);
        Ok(user)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Vec<u8>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Common name, organizations and UID of the subject.
fn read(leaf: &[u8]) -> Result<Known, String> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|e| format!("reading the client certificate: {e}"))?;
    let subject = certificate.subject();
    let texts = |list: Vec<&x509_parser::x509::AttributeTypeAndValue<'_>>| -> Vec<String> {
        list.iter().filter_map(|a| Some(a.as_str().ok()?.to_owned())).collect()
    };
    let name = texts(subject.iter_common_name().collect()).into_iter().next().unwrap_or_default();
    if name.is_empty() {
        return Err("the client certificate has no common name".to_owned());
    }
    let uids = subject.iter_attributes().filter(|a| a.attr_type().to_id_string() == UID_OID);
    let mut user = UserInfo {
        name,
        uid: texts(uids.collect()).into_iter().next().unwrap_or_default(),
        groups: texts(subject.iter_organization().collect()),
        ..UserInfo::default()
    };
    let id = format!("X509SHA256={}", hex::encode(Sha256::digest(leaf)));
    user.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![id]);
    let validity = certificate.validity();
    Ok(Known { user, good: (validity.not_before.timestamp(), validity.not_after.timestamp()) })
}
