//! A front proxy that has authenticated the caller and says so in headers (upstream `request/headerrequest`).

use std::time::SystemTime;

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::{Error, x509};
use crate::identity::{Peer, UserInfo};

const USER: &str = "x-remote-user";
const UID: &str = "x-remote-uid";
const GROUP: &str = "x-remote-group";
const EXTRA: &str = "x-remote-extra-";

/// Which proxies are believed.
#[derive(Clone, Debug)]
pub struct FrontProxy {
    /// The authorities that sign their client certificates, PEM.
    pub ca_pem: String,
    /// The common names that they may have; empty allows all.
    pub names: Vec<String>,
}

pub(super) struct Verifier {
    certificates: x509::Verifier,
    names: Vec<String>,
}

impl Verifier {
    pub(super) fn new(proxy: FrontProxy) -> Result<Self, Error> {
        Ok(Self { certificates: x509::Verifier::new(&proxy.ca_pem, "the front proxy")?, names: proxy.names })
    }

    /// `Ok(None)` without the header or a certificate. The headers count only together with the proxy's certificate.
    pub(super) fn user(&self, headers: &HeaderMap, peer: &Peer, now: SystemTime) -> Result<Option<UserInfo>, String> {
        if peer.certificates.is_empty() || !headers.contains_key(USER) {
            return Ok(None);
        }
        let proxy = self.certificates.user(&peer.certificates, now)?;
        if !self.names.is_empty() && !self.names.contains(&proxy.name) {
            return Err(format!("x509: subject with cn={} is not in the allowed list", proxy.name));
        }
        let texts =
            |name: &str| -> Vec<String> { headers.get_all(name).iter().filter_map(|v| Some(v.to_str().ok()?.to_owned())).collect() };
        let Some(name) = texts(USER).into_iter().find(|n| !n.is_empty()) else { return Ok(None) };
        let uid = texts(UID).into_iter().next().unwrap_or_default();
        let mut user = UserInfo { name, uid, groups: texts(GROUP), ..UserInfo::default() };
        for header in headers.keys() {
            if let Some(key) = header.as_str().strip_prefix(EXTRA) {
                let key = percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), |k| k.to_lowercase());
                user.extra.insert(key, texts(header.as_str()));
            }
        }
        Ok(Some(user))
    }
}
