//! What every cluster has from the start. Existing objects are left as they are.

use std::sync::Arc;

use api::meta::{self, Gvk};
use api::{ApiError, Reason};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use serde_json::{Value, json};

use crate::auth::{self, bootstrap::Reconciled};
use crate::call::Call;
use crate::identity::UserInfo;
use crate::negotiate::Accept;
use crate::registry::fields::timestamp;
use crate::registry::{create, update};
use crate::request::{Query, RequestInfo, WriteOptions};
use crate::server::Server;
use crate::strategy::Upsert;

const MANAGER: &str = "kube-apiserver";
/// Default roles that are written at the same time.
const ROLES_AT_ONCE: usize = 64;

/// Creates what is missing.
pub async fn run(server: &Arc<Server>) -> Result<(), ApiError> {
    for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
        ensure(server, "", namespace(name)).await?;
    }
    for (name, value, description) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
    ] {
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value, "description": description});
        ensure(server, "", class).await?;
    }
    roles(server).await?;
    kubernetes_service(server).await
}

/// The default roles and bindings, all at once so that they share the store's commits.
async fn roles(server: &Arc<Server>) -> Result<(), ApiError> {
    let wanted = auth::bootstrap::objects();
    stream::iter(wanted).map(Ok).try_for_each_concurrent(ROLES_AT_ONCE, |object| role(server, object)).await
}

async fn role(server: &Arc<Server>, wanted: Value) -> Result<(), ApiError> {
    let namespace = meta::namespace(&wanted).to_owned();
    let call = call(server, "update", &namespace, &wanted)?;
    let stored = crate::registry::cached(&call, &call.key()).map(|o| o.tree());
    match auth::bootstrap::reconcile(&wanted, stored.as_ref()) {
        Reconciled::Keep => Ok(()),
        Reconciled::Create(object) => ensure(server, &namespace, object).await,
        Reconciled::Update(object) => put(server, &namespace, object).await,
        Reconciled::Replace(_) => {
            // Deleting it at the start of every server could take rights away while others run; an administrator decides.
            tracing::warn!(binding = meta::name(&wanted), "a default binding refers to another role, and was left so");
            Ok(())
        }
    }
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}})
}

/// `default/kubernetes` with its endpoints: how pods find this server.
async fn kubernetes_service(server: &Arc<Server>) -> Result<(), ApiError> {
    let config = &server.config;
    let first = config.service_range.hosts().next().unwrap_or_else(|| config.service_range.addr());
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "clusterIP": first.to_string(), "clusterIPs": [first.to_string()], "sessionAffinity": "None", "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.advertise_port}],
        },
    });
    ensure(server, "default", service).await?;
    let address = config.advertise_address;
    if address.is_loopback() {
        // Endpoints of loopback addresses are refused, rightly: behind one, every pod would find itself.
        tracing::warn!(%address, "the server advertises a loopback address, so pods will not find it");
        return service_cidr(server).await;
    }
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address.to_string()}], "ports": [{"name": "https", "port": config.advertise_port, "protocol": "TCP"}]}],
    });
    put(server, "default", endpoints).await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": config.advertise_port, "protocol": "TCP"}],
    });
    put(server, "default", slice).await?;
    service_cidr(server).await
}

async fn service_cidr(server: &Arc<Server>) -> Result<(), ApiError> {
    let cidr = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [server.config.service_range.trunc().to_string()]},
    });
    ensure(server, "", cidr.clone()).await?;
    // The range is this server's own, so it is ready as soon as the server is; what others found is left as it is.
    let mut call = call(server, "update", "", &cidr)?;
    call.info.subresource = "status".to_owned();
    let now = timestamp(server.clock.now());
    let ready = move |present: Option<&Value>| {
        let mut cidr = present.cloned().ok_or_else(ApiError::no_such_path)?;
        if cidr
            .pointer("/status/conditions")
            .and_then(Value::as_array)
            .is_some_and(|c| c.iter().any(|c| c.get("type") == Some(&json!("Ready"))))
        {
            return Ok(cidr);
        }
        let condition = json!({
            "type": "Ready", "status": "True", "lastTransitionTime": now, "reason": "", "message": "Kubernetes default Service CIDR is ready",
        });
        if let Some(fields) = cidr.as_object_mut() {
            fields.insert("status".to_owned(), json!({"conditions": [condition]}));
        }
        Ok(cidr)
    };
    update::change(&call, &options(), Upsert::Refused, Box::new(ready)).await.map(|_| ())
}

fn call(server: &Arc<Server>, verb: &str, namespace: &str, object: &Value) -> Result<Call, ApiError> {
    let gvk = Gvk::of(object).map_err(ApiError::internal)?;
    let resource = server.catalog.by_gvk(&gvk).ok_or_else(ApiError::no_such_path)?;
    let info = RequestInfo {
        is_resource: true,
        verb: verb.to_owned(),
        group: gvk.group.clone(),
        version: gvk.version.clone(),
        resource: resource.plural().to_owned(),
        namespace: namespace.to_owned(),
        name: api::meta::name(object).to_owned(),
        ..RequestInfo::default()
    };
    let user = UserInfo::new("system:apiserver", &["system:masters"]);
    Ok(Call::new(server.clone(), resource, info, user, Query::default(), HeaderMap::new(), Accept::default(), false))
}

fn options() -> WriteOptions {
    WriteOptions { field_manager: Some(MANAGER.to_owned()), ..WriteOptions::default() }
}

/// Creates the object unless it is there.
async fn ensure(server: &Arc<Server>, namespace: &str, object: Value) -> Result<(), ApiError> {
    let call = call(server, "create", namespace, &object)?;
    if crate::registry::cached(&call, &call.key()).is_some() {
        return Ok(());
    }
    match create::create(&call, &options(), object).await {
        Err(e) if e.reason == Reason::AlreadyExists => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Makes the object be so, also when it was different.
async fn put(server: &Arc<Server>, namespace: &str, object: Value) -> Result<(), ApiError> {
    let call = call(server, "update", namespace, &object)?;
    update::change(&call, &options(), Upsert::Creates, Box::new(move |_| Ok(object.clone()))).await.map(|_| ())
}
