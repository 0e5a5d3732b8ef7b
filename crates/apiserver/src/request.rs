//! What a request is about, read from its method, path and query alone (apimachinery's RequestInfo).

pub mod listing;
pub mod options;
pub mod query;

use std::collections::BTreeMap;

use http::Method;

pub use listing::{AsOf, ListOptions};
pub use options::{DeleteOptions, DryRun, WriteOptions};
pub use query::Query;

use crate::identity::{Attributes, UserInfo};

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// It is about a resource; otherwise only `path` and `verb` mean something.
    pub is_resource: bool,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the lower-case method.
    pub verb: String,
    /// The API group; empty for core.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The resource's plural.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The object's name, or empty.
    pub name: String,
    /// Everything after `…/NAME/proxy/`, as it was written.
    pub rest: String,
    /// The whole path.
    pub path: String,
    /// The equalities of the field selector.
    pub field_equals: BTreeMap<String, String>,
}

impl RequestInfo {
    /// Reads method, path and query.
    pub fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let mut info = Self { verb: method.as_str().to_ascii_lowercase(), path: path.to_owned(), ..Self::default() };
        let raw: Vec<&str> = path.trim_matches('/').split('/').collect();
        let mut parts: &[&str] = match raw.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                info.version = (*version).to_owned();
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                info.group = (*group).to_owned();
                info.version = (*version).to_owned();
                rest
            }
            _ => return info,
        };
        info.is_resource = true;
        info.verb = verb_of(method).to_owned();
        if let ["watch", rest @ ..] = parts
            && !rest.is_empty()
        {
            parts = rest;
            info.verb = "watch".to_owned();
        }
        info.locate(parts);
        if info.name.is_empty() {
            info.collection_verb(query);
        } else if info.verb == "list" {
            info.verb = "get".to_owned();
        }
        info
    }

    fn locate(&mut self, mut parts: &[&str]) {
        if let ["namespaces", namespace, rest @ ..] = parts {
            self.namespace = decoded(namespace);
            // `namespaces/NAME/status` and `/finalize` are subresources of the namespace itself.
            if !rest.is_empty() && !matches!(rest, ["status" | "finalize", ..]) {
                parts = rest;
            }
        }
        let [resource, rest @ ..] = parts else { return };
        self.resource = (*resource).to_owned();
        if let [name, rest @ ..] = rest {
            self.name = decoded(name);
            if let [subresource, rest @ ..] = rest {
                self.subresource = (*subresource).to_owned();
                self.rest = rest.join("/");
                if self.path.ends_with('/') && !rest.is_empty() {
                    self.rest.push('/');
                }
            }
        }
    }

    fn collection_verb(&mut self, query: &Query) {
        match self.verb.as_str() {
            "get" | "list" => {
                let watch = query.last("watch").is_some_and(|w| !matches!(w, "0" | "false" | "False" | "FALSE"));
                self.verb = if watch { "watch" } else { "list" }.to_owned();
            }
            "delete" => self.verb = "deletecollection".to_owned(),
            _ => {}
        }
        if matches!(self.verb.as_str(), "list" | "watch" | "deletecollection") {
            self.field_equals = equalities(query.last("fieldSelector").unwrap_or_default());
        }
        // A list of exactly one name asks for that one object's rights.
        if matches!(self.verb.as_str(), "list" | "watch" | "deletecollection")
            && let Some(selector) = query.last("fieldSelector")
            && let Some(name) = selector.strip_prefix("metadata.name=")
            && !name.contains([',', '=', '!'])
        {
            self.name = name.to_owned();
        }
    }

    /// The question for the authorizer.
    pub fn attributes(&self, user: &UserInfo) -> Attributes {
        let mut a = Attributes { user: user.clone(), verb: self.verb.clone(), path: self.path.clone(), ..Attributes::default() };
        if self.is_resource {
            a.group.clone_from(&self.group);
            a.version.clone_from(&self.version);
            a.resource.clone_from(&self.resource);
            a.subresource.clone_from(&self.subresource);
            a.namespace.clone_from(&self.namespace);
            a.name.clone_from(&self.name);
            a.field_equals.clone_from(&self.field_equals);
        }
        a
    }

    /// Whether the request goes on for as long as the client likes.
    pub fn is_long_running(&self) -> bool {
        self.verb == "watch" || matches!(self.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy")
    }
}

/// The equalities of a field selector; the rest does not matter to authorizers.
pub(crate) fn equalities(selector: &str) -> BTreeMap<String, String> {
    let parts = selector.split(',').filter(|p| !p.contains("!="));
    let pairs = parts.filter_map(|p| p.split_once('='));
    pairs.map(|(field, value)| (field.trim().to_owned(), value.trim_start_matches('=').trim().to_owned())).collect()
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

fn decoded(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_upstream_reads_them() {
        let cases = [
            ("GET", "/api/v1/namespaces/a/pods/p", "get  pods a/p "),
            ("GET", "/api/v1/namespaces/a/pods", "list  pods a/ "),
            ("GET", "/api/v1/pods?watch=true", "watch  pods / "),
            ("GET", "/api/v1/watch/namespaces/a/pods/p", "watch  pods a/p "),
            ("GET", "/api/v1/namespaces/a", "get  namespaces a/a "),
            ("PUT", "/api/v1/namespaces/a/finalize", "update  namespaces a/a finalize"),
            ("PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale", "patch apps deployments a/d scale"),
            ("DELETE", "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx", "deletecollection  pods a/x "),
            ("POST", "/api/v1/namespaces/a/pods/p/exec?command=ls", "create  pods a/p exec"),
            ("GET", "/api/v1/nodes/n/proxy/logs/x/", "get  nodes /n proxy"),
            ("GET", "/healthz", "get"),
            ("GET", "/apis/apps/v1", "get"),
        ];
        for (method, uri, expected) in cases {
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            let i = RequestInfo::parse(&method.parse().unwrap(), path, &Query::parse(query));
            let seen = if i.is_resource {
                format!("{} {} {} {}/{} {}", i.verb, i.group, i.resource, i.namespace, i.name, i.subresource)
            } else {
                i.verb.clone()
            };
            assert_eq!(seen, expected, "{method} {uri}");
        }
        let proxied = RequestInfo::parse(&Method::GET, "/api/v1/nodes/n/proxy/logs/x/", &Query::default());
        assert_eq!(proxied.rest, "logs/x/");
    }
}
