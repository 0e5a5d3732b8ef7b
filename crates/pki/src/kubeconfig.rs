//! Kubeconfig files for the cluster's own clients.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::authority::Issued;

/// A kubeconfig with one cluster, one user and one context, all called `name`. JSON is YAML, but people read this file,
/// so it is written as YAML by hand: every value is a name, a URL or base64.
pub fn kubeconfig(name: &str, server_url: &str, server_ca_pem: &str, client: &Issued) -> String {
    let quoted = |text: &str| json!(text).to_string();
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
         contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {name}\ncurrent-context: {name}\n\
         users:\n- name: {name}\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n",
        name = quoted(name),
        server = quoted(server_url),
        ca = STANDARD.encode(server_ca_pem),
        certificate = STANDARD.encode(&client.certificate_pem),
        key = STANDARD.encode(&client.key_pem),
    )
}
