//! A server over a real store in a temporary folder, asked in process.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::sync::Arc;

use api::ApiError;
use apiserver::body::{self, Body};
use apiserver::{Attributes, Authenticator, Authorizer, Config, Decision, Deps, Peer, Server, Storage, TokenIssuer, UserInfo};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use stdx::{Clock, Prng};

/// Lets everybody do everything, except the user `nobody`.
struct Open;

#[async_trait::async_trait]
impl Authenticator for Open {
    async fn authenticate(&self, _: &http::request::Parts, _: &Peer) -> Result<Option<UserInfo>, ApiError> {
        Ok(None)
    }

    async fn review_token(&self, review: Value) -> Result<Value, ApiError> {
        Ok(review)
    }
}

#[async_trait::async_trait]
impl Authorizer for Open {
    async fn authorize(&self, a: &Attributes) -> Decision {
        if a.user.name == "nobody" { Decision::NoOpinion(String::new()) } else { Decision::Allow(String::new()) }
    }

    async fn rules(&self, _: &UserInfo, _: &str) -> Value {
        json!({"resourceRules": [], "nonResourceRules": [], "incomplete": false})
    }
}

#[async_trait::async_trait]
impl TokenIssuer for Open {
    async fn issue(&self, request: Value, _: &Value, _: Option<&Value>) -> Result<Value, ApiError> {
        Ok(request)
    }

    fn discovery_document(&self) -> Value {
        json!({})
    }

    fn key_set(&self) -> Value {
        json!({})
    }
}

/// A server and the folder that its store is in.
pub(crate) struct Cluster {
    pub(crate) server: Arc<Server>,
    pub(crate) user: UserInfo,
    _folder: tempfile::TempDir,
}

/// An answer that has been read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) json: Value,
    pub(crate) headers: http::HeaderMap,
    pub(crate) bytes: bytes::Bytes,
}

impl Answer {
    /// `code reason message` of a failure, or just the code.
    pub(crate) fn line(&self) -> String {
        let text = |k: &str| self.json.get(k).and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.code < 300 { self.code.to_string() } else { format!("{} {} {}", self.code, text("reason"), text("message")) }
    }

    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.at(pointer).as_str().unwrap_or_default()
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store::Embedded::open(folder.path(), store::Options::default()).unwrap();
        Self::over(store, folder).await
    }

    async fn over(store: Arc<dyn store::Store>, folder: tempfile::TempDir) -> Self {
        let storage = Storage::open(store).await.unwrap();
        let deps = Deps {
            storage,
            authenticator: Arc::new(Open),
            authorizer: Arc::new(Open),
            tokens: Arc::new(Open),
            clock: Clock::System,
            prng: Prng::seeded(7),
        };
        let server = Server::build(Config::default(), deps).await.unwrap();
        Self { server, user: UserInfo::new("admin", &["system:masters"]), _folder: folder }
    }

    /// Sends a request and gives the raw answer.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body::full(body)).unwrap();
        let caller = apiserver::pipeline::Caller::Component(self.user.clone());
        self.server.handle(request, caller).await
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Answer {
        let (parts, body) = self.send(method, path, headers, body).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { code: parts.status.as_u16(), json, headers: parts.headers, bytes }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.ask("PUT", path, &[], body.to_string()).await
    }

    pub(crate) async fn merge(&self, path: &str, body: &Value) -> Answer {
        self.ask("PATCH", path, &[("content-type", "application/merge-patch+json")], body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], "").await
    }

    pub(crate) async fn watch(&self, path: &str) -> Watch {
        let response = self.send("GET", path, &[], "").await;
        Watch { code: response.status().as_u16(), body: response.into_body(), buffer: Vec::new() }
    }
}

/// A watch, read event by event.
pub(crate) struct Watch {
    pub(crate) code: u16,
    body: Body,
    buffer: Vec<u8>,
}

impl Watch {
    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.extend_from_slice(frame.data_ref().unwrap());
        }
    }

    /// The next event as `TYPE name@version`.
    pub(crate) async fn line(&mut self) -> String {
        let Some(event) = self.next().await else { return "end".to_owned() };
        let text = |p: &str| event.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{} {}", text("/type"), text("/object/metadata/name"))
    }
}

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"v": value}}, "data": {"k": value}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}})
}
