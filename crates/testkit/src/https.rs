//! The API server without kubectl: TLS with what a kubeconfig holds, for what kubectl does not let one say.

use std::net::TcpStream;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_yaml_ng::Value;

use crate::http::Connection;

/// A connection to the API server.
pub type Api = Connection<StreamOwned<ClientConnection, TcpStream>>;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// With the kubeconfig's client certificate.
    Administrator,
    /// Without a certificate; a token may come in a header.
    Nobody,
}

/// What a kubeconfig says.
pub struct Access {
    /// Host and port.
    pub server: String,
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Access {
    /// Reads a kubeconfig with one cluster and one user.
    ///
    /// # Errors
    /// If something is missing.
    pub fn read(kubeconfig: &str) -> anyhow::Result<Self> {
        let config: Value = serde_yaml_ng::from_str(kubeconfig).context("reading the kubeconfig")?;
        let server = text(&config, &["clusters", "cluster", "server"])?;
        let server = server.strip_prefix("https://").context("the server is not https")?.trim_end_matches('/').to_owned();
        let data = |path: &[&str]| {
            let encoded = text(&config, path)?;
            base64::engine::general_purpose::STANDARD.decode(encoded).with_context(|| format!("decoding {path:?}"))
        };
        Ok(Self {
            server,
            authority: data(&["clusters", "cluster", "certificate-authority-data"])?,
            certificate: data(&["users", "user", "client-certificate-data"])?,
            key: data(&["users", "user", "client-key-data"])?,
        })
    }

    /// What TLS needs.
    ///
    /// # Errors
    /// If the kubeconfig's certificates cannot be used.
    pub fn tls(&self, identity: Identity) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&self.authority) {
            roots.add(authority?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_root_certificates(roots);
        let mut config = match identity {
            Identity::Nobody => builder.with_no_client_auth(),
            Identity::Administrator => {
                let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>()?;
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(&self.key)?)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Speaks TLS on a connected socket.
    ///
    /// # Errors
    /// If the server's name cannot be one.
    pub fn over(&self, tls: Arc<ClientConfig>, socket: TcpStream) -> anyhow::Result<Api> {
        socket.set_nodelay(true)?;
        let host = self.server.rsplit_once(':').map_or(self.server.as_str(), |(host, _)| host);
        let session = ClientConnection::new(tls, ServerName::try_from(host.to_owned())?)?;
        Ok(Connection::new(StreamOwned::new(session, socket), &self.server))
    }
}

/// A text in nested maps, where a list stands for its first element.
fn text<'a>(value: &'a Value, path: &[&str]) -> anyhow::Result<&'a str> {
    let mut at = value;
    for step in path {
        if let Some(first) = at.as_sequence().and_then(|l| l.first()) {
            at = first;
        }
        at = at.get(*step).with_context(|| format!("the kubeconfig has no {}", path.join(".")))?;
    }
    match at.as_str() {
        Some(text) => Ok(text),
        None => bail!("{} is not a text", path.join(".")),
    }
}
