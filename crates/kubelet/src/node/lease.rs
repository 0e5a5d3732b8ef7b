//! The node's lease: a small sign of life, much cheaper than the status.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;

use crate::machine::Machine;

const NAMESPACE: &str = "kube-node-lease";
/// How long the lease vouches for the node, in seconds, and how often it is renewed.
const DURATION: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);

/// Renews the lease; never returns.
pub(super) async fn keep(machine: &Machine) {
    let api: Api<Lease> = Api::namespaced(machine.deps.client.clone(), NAMESPACE);
    let mut last: Option<Lease> = None;
    loop {
        let wait = match renew(machine, &api, last.take()).await {
            Ok(lease) => {
                last = Some(lease);
                RENEW
            }
            Err(error) => {
                tracing::debug!(%error, "renewing the node's lease, will retry");
                RETRY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn renew(machine: &Machine, api: &Api<Lease>, last: Option<Lease>) -> kube::Result<Lease> {
    let name = &machine.config.node_name;
    let known = match last {
        Some(lease) => Some(lease),
        None => api.get_opt(name).await?,
    };
    let now = MicroTime(Timestamp::try_from(machine.config.clock.now()).unwrap_or_default());
    if let Some(mut lease) = known {
        let mut spec = lease.spec.take().unwrap_or_default();
        spec.renew_time = Some(now);
        spec.holder_identity = Some(name.clone());
        spec.lease_duration_seconds = Some(DURATION);
        lease.spec = Some(spec);
        return api.replace(name, &PostParams::default(), &lease).await;
    }
    let nodes: Api<Node> = Api::all(machine.deps.client.clone());
    let node = nodes.get(name).await?;
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.clone(),
        uid: node.metadata.uid.unwrap_or_default(),
        ..OwnerReference::default()
    };
    let mut lease = Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: Some(DURATION),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
        ..Lease::default()
    };
    lease.metadata.name = Some(name.clone());
    lease.metadata.namespace = Some(NAMESPACE.into());
    lease.metadata.owner_references = Some(vec![owner]);
    api.create(&PostParams::default(), &lease).await
}
