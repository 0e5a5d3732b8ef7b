//! Makers of `kube::Client`.

use std::path::{Path, PathBuf};

use http::{Request, Response};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::{BoxError, Service};

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read or is no kubeconfig.
    #[error("reading kubeconfig {path}: {source}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The file is fine, but no connection can be set up from it.
    #[error("making a client from kubeconfig {path}: {source}")]
    Client {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<kube::Error>,
    },
}

/// A client that calls an API server in the same process: no socket, no TLS. The service already knows who is calling.
pub fn in_process<S, B>(service: S) -> kube::Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    kube::Client::new(service, "default")
}

/// A client as the current context of a kubeconfig file describes it.
pub async fn from_kubeconfig(path: &Path) -> Result<kube::Client, Error> {
    let broken = |source| Error::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
    let file = Kubeconfig::read_from(path).map_err(broken)?;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(broken)?;
    kube::Client::try_from(config).map_err(|source| Error::Client { path: path.to_owned(), source: Box::new(source) })
}
