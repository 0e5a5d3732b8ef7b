//! All keys of one cluster, in one folder, made on first use.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::KeyPair;
use stdx::Clock;

use crate::authority::{Authority, Identity, Issued, LEAF_VALID, read, write};
use crate::error::Error;

/// The cluster's authorities, its service account key, and the leaves that its own components use.
pub struct Cluster {
    dir: PathBuf,
    clock: Clock,
    /// Signs what servers show: the API server and the kubelets.
    pub server_ca: Authority,
    /// Signs what clients show.
    pub client_ca: Authority,
    /// Signs the API server's own client certificate towards aggregated API servers.
    pub front_proxy_ca: Authority,
    /// Signs service account tokens (ECDSA P-256, PKCS#8 PEM).
    pub service_account_key_pem: String,
}

impl Cluster {
    /// Opens `dir`, or fills it when it is new.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|source| Error::File { attempted: "creating", path: dir.to_owned(), source })?;
        Ok(Self {
            server_ca: Authority::open(dir, "server-ca", &clock)?,
            client_ca: Authority::open(dir, "client-ca", &clock)?,
            front_proxy_ca: Authority::open(dir, "front-proxy-ca", &clock)?,
            service_account_key_pem: service_account_key(&dir.join("service-account.key"))?,
            dir: dir.to_owned(),
            clock,
        })
    }

    /// A leaf kept as `NAME.crt` and `NAME.key`: the one on disk while more than a third of its life is left and it was
    /// issued for the same identity, otherwise a fresh one.
    pub fn leaf(&self, file: &str, identity: &Identity) -> Result<Issued, Error> {
        let path = |ending: &str| self.dir.join(format!("{file}.{ending}"));
        let (certificate, key, purpose) = (read(&path("crt"))?, read(&path("key"))?, read(&path("for"))?);
        let wanted = format!("{identity:?}");
        if let (Some(certificate_pem), Some(key_pem), Some(purpose)) = (certificate, key, purpose)
            && purpose == wanted
            && !due_for_renewal(&certificate_pem, self.clock.now())
        {
            return Ok(Issued { certificate_pem, key_pem });
        }
        let authority = match identity.usage {
            crate::Use::Client => &self.client_ca,
            crate::Use::Server => &self.server_ca,
        };
        let issued = authority.issue(identity, &self.clock)?;
        write(&path("key"), &issued.key_pem, 0o600)?;
        write(&path("crt"), &issued.certificate_pem, 0o644)?;
        write(&path("for"), &wanted, 0o644)?;
        Ok(issued)
    }
}

/// Whether less than a third of a leaf's life is left (or it cannot be read at all).
pub(crate) fn due_for_renewal(certificate_pem: &str, now: SystemTime) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(certificate_pem.as_bytes()) else { return true };
    let Ok(certificate) = pem.parse_x509() else { return true };
    let ends = certificate.validity().not_after.timestamp();
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
    let third = i64::try_from(LEAF_VALID.as_secs() / 3).unwrap_or(0);
    ends.saturating_sub(now) < third
}

fn service_account_key(path: &Path) -> Result<String, Error> {
    if let Some(pem) = read(path)? {
        return Ok(pem);
    }
    let key = KeyPair::generate().map_err(|source| Error::Issue { name: "service accounts".to_owned(), source })?;
    write(path, &key.serialize_pem(), 0o600)?;
    Ok(key.serialize_pem())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn everything_is_found_again_and_leaves_are_renewed_when_a_third_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let first = Cluster::open(dir.path(), clock.clone()).unwrap();
        let admin = Identity::client("admin", Some("system:masters"));
        let leaf = first.leaf("admin", &admin).unwrap();

        let again = Cluster::open(dir.path(), clock.clone()).unwrap();
        assert_eq!(first.client_ca.certificate_pem(), again.client_ca.certificate_pem());
        assert_eq!(first.service_account_key_pem, again.service_account_key_pem);
        assert_eq!(again.leaf("admin", &admin).unwrap().certificate_pem, leaf.certificate_pem);

        clock.advance(LEAF_VALID * 3 / 4);
        let renewed = again.leaf("admin", &admin).unwrap();
        assert_ne!(renewed.certificate_pem, leaf.certificate_pem);
        assert!(!due_for_renewal(&renewed.certificate_pem, clock.now()));
    }

    #[test]
    fn another_identity_under_the_same_file_name_gets_its_own_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::open(dir.path(), Clock::System).unwrap();
        let server = |ip: &str| Identity::server("kube-apiserver", vec!["kubernetes".into()], vec![ip.parse().unwrap()]);
        let one = cluster.leaf("apiserver", &server("10.0.0.1")).unwrap();
        let two = cluster.leaf("apiserver", &server("10.0.0.2")).unwrap();
        assert_ne!(one.certificate_pem, two.certificate_pem);
    }

    #[test]
    fn half_an_authority_is_refused_with_the_missing_file_named() {
        let dir = tempfile::tempdir().unwrap();
        drop(Cluster::open(dir.path(), Clock::System).unwrap());
        std::fs::remove_file(dir.path().join("client-ca.key")).unwrap();
        let error = Cluster::open(dir.path(), Clock::System).err().unwrap().to_string();
        assert!(error.contains("client-ca.key is missing"), "{error}");
    }
}
