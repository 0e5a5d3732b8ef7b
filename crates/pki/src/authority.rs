//! A certificate authority: one key, one self-signed certificate, and what it issues.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use stdx::Clock;

use crate::error::Error;

/// Authorities outlive the machines they run on.
const AUTHORITY_VALID: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Leaves are renewed in process when a third of this is left.
pub(crate) const LEAF_VALID: Duration = Duration::from_secs(365 * 24 * 3600);
/// Clocks of joining machines may be behind.
const BACKDATED: Duration = Duration::from_secs(300);

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To call servers.
    Client,
    /// To be called.
    Server,
}

/// Who or what a certificate names.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Common name: the user name of a client.
    pub name: String,
    /// Organization: the group of a client. (rcgen writes one organization per certificate; nobody here needs two.)
    pub group: Option<String>,
    /// DNS names of a server.
    pub dns: Vec<String>,
    /// Addresses of a server.
    pub ips: Vec<IpAddr>,
    /// What it may be used for.
    pub usage: Use,
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

/// A certificate authority.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Identity {
    /// A client with a user name and a group.
    pub fn client(name: &str, group: Option<&str>) -> Self {
        Self { name: name.to_owned(), group: group.map(str::to_owned), dns: Vec::new(), ips: Vec::new(), usage: Use::Client }
    }

    /// A server under some names and addresses.
    pub fn server(name: &str, dns: Vec<String>, ips: Vec<IpAddr>) -> Self {
        Self { name: name.to_owned(), group: None, dns, ips, usage: Use::Server }
    }

    fn params(&self, now: SystemTime) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&self.name, self.group.as_deref());
        set_validity(&mut params, now, LEAF_VALID);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![match self.usage {
            Use::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Use::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        let names = self.dns.iter().filter_map(|name| Some(SanType::DnsName(name.clone().try_into().ok()?)));
        params.subject_alt_names = names.chain(self.ips.iter().map(|ip| SanType::IpAddress(*ip))).collect();
        params.use_authority_key_identifier_extension = true;
        params
    }
}

impl Authority {
    /// Reads `NAME.crt` and `NAME.key` in `dir`, or makes them when both are absent.
    pub fn open(dir: &Path, name: &str, clock: &Clock) -> Result<Self, Error> {
        let (certificate_path, key_path) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        match (read(&certificate_path)?, read(&key_path)?) {
            (Some(certificate_pem), Some(key_pem)) => Self::from_pem(certificate_pem, &key_pem, &certificate_path),
            (None, None) => {
                let (authority, key_pem) = Self::generate(name, clock)?;
                write(&key_path, &key_pem, 0o600)?;
                write(&certificate_path, &authority.certificate_pem, 0o644)?;
                Ok(authority)
            }
            (found, _) => Err(Error::Unusable {
                path: dir.display().to_string(),
                what: "certificate authority",
                why: format!("{name}.{} is missing beside its other half", if found.is_some() { "key" } else { "crt" }),
            }),
        }
    }

    fn generate(name: &str, clock: &Clock) -> Result<(Self, String), Error> {
        let failed = |source| Error::Issue { name: name.to_owned(), source };
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(&format!("ferry-{name}"), None);
        set_validity(&mut params, clock.now(), AUTHORITY_VALID);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let key_pem = key.serialize_pem();
        let certificate_pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok((Self { certificate_pem, issuer: Issuer::new(params, key) }, key_pem))
    }

    fn from_pem(certificate_pem: String, key_pem: &str, path: &Path) -> Result<Self, Error> {
        let unusable = |source: rcgen::Error| Error::Unusable {
            path: path.display().to_string(),
            what: "certificate authority",
            why: source.to_string(),
        };
        let key = KeyPair::from_pem(key_pem).map_err(unusable)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(unusable)?;
        Ok(Self { certificate_pem, issuer })
    }

    /// The authority's own certificate, PEM: what others trust.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A new key and a certificate for it, valid for a year from now.
    pub fn issue(&self, identity: &Identity, clock: &Clock) -> Result<Issued, Error> {
        let failed = |source| Error::Issue { name: identity.name.clone(), source };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = identity.params(clock.now()).signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Signs somebody else's request as it stands; the caller has checked what it asks for.
    pub fn sign(&self, request_pem: &str, usage: Use, valid: Duration, clock: &Clock) -> Result<String, Error> {
        let failed = |source| Error::Issue { name: "a signing request".to_owned(), source };
        let mut request = CertificateSigningRequestParams::from_pem(request_pem).map_err(failed)?;
        set_validity(&mut request.params, clock.now(), valid.min(LEAF_VALID));
        request.params.is_ca = IsCa::ExplicitNoCa;
        request.params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        request.params.extended_key_usages = vec![match usage {
            Use::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Use::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        Ok(request.signed_by(&self.issuer).map_err(failed)?.pem())
    }
}

fn distinguished_name(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    if let Some(group) = group {
        dn.push(DnType::OrganizationName, group);
    }
    dn.push(DnType::CommonName, name);
    dn
}

fn set_validity(params: &mut CertificateParams, now: SystemTime, valid: Duration) {
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + valid).into();
}

pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    let failed = |source| Error::File { attempted: "reading", path: path.to_owned(), source };
    let Some(bytes) = stdx::fs::read_if_exists(path).map_err(failed)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|e| Error::Unusable {
        path: path.display().to_string(),
        what: "PEM text",
        why: e.to_string(),
    })
}

pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    stdx::fs::write_atomic(path, text.as_bytes(), mode).map_err(|source| Error::File {
        attempted: "writing",
        path: path.to_owned(),
        source,
    })
}
