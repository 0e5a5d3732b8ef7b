//! Discovery and OpenAPI, made from the catalog when they are asked for: they are large and rarely read, so memory is not
//! spent on keeping them.

use api::discovery::{AGGREGATED_MEDIA_TYPE, Discovery, Root};
use api::openapi::{self, Served, gnostic};
use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::catalog::Catalog;
use crate::config::VERSION;
use crate::server::Server;

/// A document ready to be sent.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its bytes.
    pub bytes: Bytes,
    /// Its media type.
    pub media: &'static str,
    /// Its entity tag, with quotes.
    pub etag: String,
}

fn document(tree: &Value, media: &'static str) -> Document {
    of_bytes(Bytes::from(tree.to_string()), media)
}

fn of_bytes(bytes: Bytes, media: &'static str) -> Document {
    let etag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&bytes)));
    Document { bytes, media, etag }
}

const JSON: &str = "application/json";

/// The document at a path, in the form that the request accepts.
pub fn find(server: &Server, path: &str, parts: &http::request::Parts) -> Option<Document> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let accept = parts.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let aggregated = accept.split(',').map(str::trim).any(is_aggregated);
    let discovery = Discovery::new(server.catalog.descriptors());
    let plain = |tree: Value| Some(document(&tree, JSON));
    match segments.as_slice() {
        ["api"] if aggregated => Some(document(&discovery.aggregated(Root::Core), AGGREGATED_MEDIA_TYPE)),
        ["apis"] if aggregated => Some(document(&discovery.aggregated(Root::Groups), AGGREGATED_MEDIA_TYPE)),
        ["api"] => {
            let own = format!("{}:{}", server.config.advertise_address, server.config.advertise_port);
            let host = parts.headers.get(HOST).and_then(|h| h.to_str().ok()).unwrap_or(&own);
            plain(discovery.api_versions(host))
        }
        ["apis"] => plain(discovery.group_list()),
        ["api", version] => discovery.resource_list("", version).and_then(plain),
        ["apis", group] => discovery.group(group).and_then(plain),
        ["apis", group, version] => discovery.resource_list(group, version).and_then(plain),
        ["openapi", "v2"] => Some(v2(server, accept)),
        ["openapi", "v3"] => plain(openapi::v3_index(&served(&server.catalog))),
        ["openapi", "v3", "api", version] => v3(server, "", version),
        ["openapi", "v3", "apis", group, version] => v3(server, group, version),
        [""] => plain(paths(&discovery)),
        _ => None,
    }
}

/// Version 2 of the aggregated form, whichever way the parameters are ordered.
fn is_aggregated(clause: &str) -> bool {
    let mut parts = clause.split(';').map(str::trim);
    let media = parts.next() == Some(JSON);
    let parameters: Vec<&str> = parts.collect();
    media && ["g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"].iter().all(|p| parameters.contains(p))
}

fn served(catalog: &Catalog) -> Vec<Served<'_>> {
    catalog.descriptors().into_iter().map(|resource| Served { resource, schema: None }).collect()
}

/// In the form that stands first among those accepted: kubectl understands protobuf alone, and says so.
fn v2(server: &Server, accept: &str) -> Document {
    let tree = openapi::v2_document(&served(&server.catalog), VERSION);
    let media = |clause: &str| clause.split(';').next().unwrap_or_default().trim().to_owned();
    let wanted = accept.split(',').map(media).find(|m| matches!(m.as_str(), gnostic::ACCEPTED | JSON | "application/*" | "*/*"));
    match wanted.as_deref() {
        Some(gnostic::ACCEPTED) => of_bytes(Bytes::from(gnostic::encode(&tree)), gnostic::MEDIA_TYPE),
        _ => document(&tree, JSON),
    }
}

fn v3(server: &Server, group: &str, version: &str) -> Option<Document> {
    let served = served(&server.catalog);
    let tree = openapi::v3_document(group, version, &served, VERSION)?;
    Some(document(&tree, JSON))
}

fn paths(discovery: &Discovery<'_>) -> Value {
    let mut paths: Vec<String> = ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
        .iter()
        .map(|p| (*p).to_owned())
        .collect();
    for (group, version) in discovery.group_versions() {
        if group.is_empty() {
            paths.push(format!("/api/{version}"));
        } else {
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    paths.sort();
    paths.dedup();
    serde_json::json!({"paths": paths})
}
