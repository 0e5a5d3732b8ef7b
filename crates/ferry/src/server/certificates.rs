//! The certificates of this process's own components: taken from disk or issued at the start, and replaced while everything
//! goes on, long before they end.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pki::{Identity, RotatingCertificate};

use super::Shared;

/// How often the certificates are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(12 * 3600);

struct Leaf {
    file: String,
    identity: Identity,
    certificate: Arc<RotatingCertificate>,
}

/// All certificates in use.
pub(crate) struct Certificates {
    dir: PathBuf,
    leaves: Mutex<Vec<Leaf>>,
}

impl Certificates {
    /// None are in use; `dir` is the folder of the cluster's keys.
    pub(crate) fn new(dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { dir, leaves: Mutex::default() })
    }

    /// A certificate that stays good.
    pub(crate) fn open(&self, pki: &pki::Cluster, file: &str, identity: Identity) -> Result<Arc<RotatingCertificate>, pki::Error> {
        let certificate = RotatingCertificate::new(&pki.leaf(file, &identity)?)?;
        let leaf = Leaf { file: file.to_owned(), identity, certificate: certificate.clone() };
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner).push(leaf);
        Ok(certificate)
    }

    /// Replaces what comes near its end, until the process ends. `rewrite` brings files that hold certificates up to date.
    pub(crate) async fn keep_good(self: Arc<Self>, shared: Shared, rewrite: impl Fn(&pki::Cluster) -> anyhow::Result<()>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = shared.stop.cancelled() => return,
            }
            if let Err(error) = self.renew(&shared, &rewrite) {
                tracing::error!(%error, "certificates could not be renewed, will try again");
            }
        }
    }

    fn renew(&self, shared: &Shared, rewrite: &impl Fn(&pki::Cluster) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let pki = pki::Cluster::open(&self.dir, shared.clock.clone())?;
        for leaf in self.leaves.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            leaf.certificate.replace(&pki.leaf(&leaf.file, &leaf.identity)?)?;
        }
        rewrite(&pki)
    }
}
