//! An API server in memory: objects by path, watches, merge and strategic merge patches of statuses.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;

type Answer = Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>>;

#[derive(Clone)]
pub(crate) struct Api(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Path, type, object.
    changes: broadcast::Sender<(String, &'static str, Value)>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
}

impl Default for Api {
    fn default() -> Self {
        let (changes, _) = broadcast::channel(4096);
        Self(Arc::new(Inner { state: Mutex::default(), changes }))
    }
}

impl Api {
    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        client::in_process(tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        }))
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.0.state.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn put(&self, path: &str, mut object: Value) -> Value {
        let mut state = self.0.state.lock().unwrap();
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        let known = state.objects.insert(path.to_owned(), object.clone()).is_some();
        let _ = self.0.changes.send((path.to_owned(), if known { "MODIFIED" } else { "ADDED" }, object.clone()));
        object
    }

    pub(crate) fn remove(&self, path: &str) -> Option<Value> {
        let mut state = self.0.state.lock().unwrap();
        let mut gone = state.objects.remove(path)?;
        state.version += 1;
        gone["metadata"]["resourceVersion"] = state.version.to_string().into();
        let _ = self.0.changes.send((path.to_owned(), "DELETED", gone.clone()));
        Some(gone)
    }

    /// Reasons and messages of all events.
    pub(crate) fn events(&self) -> Vec<String> {
        let state = self.0.state.lock().unwrap();
        let events = state.objects.iter().filter(|(path, _)| path.contains("/events/"));
        events.map(|(_, e)| format!("{} {}", e["reason"].as_str().unwrap_or_default(), e["message"].as_str().unwrap_or_default())).collect()
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let query = head.uri.query().unwrap_or_default().replace("%3D", "=");
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match head.method.as_str() {
            "GET" if query.contains("watch=true") => self.watch(&path, &query),
            "GET" => match self.get(&path) {
                Some(object) => reply(200, &object),
                None if is_list(&path) => reply(200, &self.list(&path, &query)),
                None => missing(&path),
            },
            "POST" if path.ends_with("/token") => {
                let status = json!({"token": "token-1", "expirationTimestamp": "2099-01-01T00:00:00Z"});
                reply(
                    201,
                    &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": body["spec"], "status": status}),
                )
            }
            "POST" => {
                let full = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                if self.get(&full).is_some() {
                    reply(409, &status(409, "AlreadyExists", "already exists"))
                } else {
                    reply(201, &self.put(&full, body))
                }
            }
            "PUT" => reply(200, &self.put(&path, body)),
            "PATCH" => {
                let full = path.trim_end_matches("/status");
                let Some(mut object) = self.get(full) else { return missing(&path) };
                merge(&mut object, &body);
                reply(200, &self.put(full, object))
            }
            "DELETE" => match self.remove(&path) {
                Some(object) => reply(200, &object),
                None => missing(&path),
            },
            _ => reply(405, &status(405, "MethodNotAllowed", "no")),
        }
    }

    fn list(&self, path: &str, query: &str) -> Value {
        let state = self.0.state.lock().unwrap();
        let items: Vec<&Value> = state.objects.iter().filter(|(p, o)| selected(p, path, o, query)).map(|(_, o)| o).collect();
        json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": state.version.to_string()}, "items": items})
    }

    fn watch(&self, path: &str, query: &str) -> Answer {
        let from: u64 = query.split('&').find_map(|p| p.strip_prefix("resourceVersion=")).and_then(|v| v.parse().ok()).unwrap_or(0);
        let (path, query) = (path.to_owned(), query.to_owned());
        // Changes between a list and its watch are rare in tests, but must not be lost.
        let missed: Vec<(String, &'static str, Value)> = {
            let state = self.0.state.lock().unwrap();
            let newer = |o: &Value| o["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok()).unwrap_or(0) > from;
            state.objects.iter().filter(|(_, o)| newer(o)).map(|(p, o)| (p.clone(), "MODIFIED", o.clone())).collect()
        };
        let changes = BroadcastStream::new(self.0.changes.subscribe()).filter_map(Result::ok);
        let frames = tokio_stream::iter(missed).chain(changes).filter_map(move |(of, kind, object)| {
            let line = format!("{}\n", json!({"type": kind, "object": object}));
            selected(&of, &path, &object, &query).then(|| Ok(http_body::Frame::data(Bytes::from(line))))
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    }
}

fn is_list(path: &str) -> bool {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let base = if parts[0] == "api" { 2 } else { 3 };
    matches!((parts.len() - base, parts.get(base)), (1, _) | (3, Some(&"namespaces")))
}

/// Whether the object at `of` is in the collection `path` and matches the field selector.
fn selected(of: &str, path: &str, object: &Value, query: &str) -> bool {
    let in_collection = match of.strip_prefix(&format!("{path}/")) {
        Some(rest) => !rest.contains('/'),
        None => {
            // All namespaces: /api/v1/pods has /api/v1/namespaces/x/pods/y.
            let (base, resource) = path.rsplit_once('/').unwrap();
            of.strip_prefix(&format!("{base}/namespaces/"))
                .is_some_and(|rest| rest.split('/').nth(1) == Some(resource) && rest.split('/').count() == 3)
        }
    };
    let selector = query.split('&').find_map(|p| p.strip_prefix("fieldSelector=")).unwrap_or_default();
    let holds = selector.split_once('=').is_none_or(|(field, value)| {
        let pointer = format!("/{}", field.replace('.', "/"));
        object.pointer(&pointer).and_then(Value::as_str) == Some(value)
    });
    in_collection && holds
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return };
    for (key, new) in patch {
        if new.is_null() {
            target.as_object_mut().unwrap().remove(key);
            continue;
        }
        let merge_key = match key.as_str() {
            "conditions" => Some("type"),
            "podIPs" | "hostIPs" => Some("ip"),
            _ => None,
        };
        if !target.is_object() {
            *target = json!({});
        }
        match (merge_key, new) {
            (Some(by), Value::Array(entries)) => {
                let mut list = target[key].as_array().cloned().unwrap_or_default();
                for entry in entries {
                    let at = list.iter().position(|e| e[by] == entry[by]);
                    match (at, entry["$patch"].as_str()) {
                        (Some(at), Some("delete")) => drop(list.remove(at)),
                        (Some(at), _) => merge(&mut list[at], entry),
                        (None, None) => list.push(entry.clone()),
                        (None, Some(_)) => {}
                    }
                }
                target[key] = Value::Array(list);
            }
            (None, Value::Object(_)) => merge(&mut target[key], new),
            _ => target[key] = new.clone(),
        }
    }
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn missing(path: &str) -> Answer {
    let mut parts = path.rsplit('/');
    let (name, resource) = (parts.next().unwrap(), parts.next().unwrap());
    reply(404, &status(404, "NotFound", &format!("{resource} {name:?} not found")))
}

fn reply(code: u16, object: &Value) -> Answer {
    let body = Full::new(Bytes::from(object.to_string())).boxed_unsync();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}
