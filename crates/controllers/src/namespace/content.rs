//! Deletes everything in one namespace that the API server knows to have.

use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client};

use super::plan::Found;
use crate::context::{gone_is_fine, is_not_found, message_of};

/// The API refuses `list` or `delete` on a resource that is no longer served, or never had that verb.
const NOT_SERVED: [u16; 2] = [404, 405];
/// Objects are counted by pages of this size.
const PAGE: u32 = 500;

/// Deletes pods first; only when none are left, everything else. So nothing that a pod needs goes before it.
pub(super) async fn delete_all(client: &Client, namespace: &str) -> Found {
    let mut found = Found::default();
    let resources = match resources(client).await {
        Ok(resources) => resources,
        Err(error) => {
            found.discovery_errors.push(message_of(&error));
            return found;
        }
    };
    let (pods, rest): (Vec<_>, Vec<_>) = resources.into_iter().partition(|r| r.group.is_empty() && r.plural == "pods");
    for resource in &pods {
        delete_kind(client, namespace, resource, &mut found).await;
    }
    if !found.is_empty() {
        if !found.remaining.is_empty() {
            let left: usize = found.remaining.values().sum();
            found
                .delete_errors
                .push(format!("unexpected items still remain in namespace: {namespace} for gvr: /v1, Resource=pods: {left}"));
        }
        return found;
    }
    for resource in &rest {
        delete_kind(client, namespace, resource, &mut found).await;
    }
    found
}

async fn resources(client: &Client) -> Result<Vec<ApiResource>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let all = discovery.groups().flat_map(|group| group.recommended_resources());
    let deletable = all.filter(|(_, can)| can.scope == Scope::Namespaced && can.supports_operation(verbs::DELETE));
    Ok(deletable.map(|(resource, _)| resource).collect())
}

async fn delete_kind(client: &Client, namespace: &str, resource: &ApiResource, found: &mut Found) {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    if let Err(error) = delete_objects(&api).await {
        if !is_not_served(&error) {
            found.delete_errors.push(message_of(&error));
        }
        return;
    }
    match left(&api).await {
        Ok(left) if left.is_empty() => {}
        Ok(left) => {
            found.remaining.insert(format!("{}.{}", resource.plural, resource.group), left.len());
            for object in &left {
                for finalizer in object.metadata.finalizers.iter().flatten() {
                    *found.finalizers.entry(finalizer.clone()).or_default() += 1;
                }
            }
        }
        Err(error) if is_not_served(&error) => {}
        Err(error) => found.delete_errors.push(message_of(&error)),
    }
}

/// The whole collection at once, or one by one where the resource has no such verb.
async fn delete_objects(api: &Api<DynamicObject>) -> Result<(), kube::Error> {
    match api.delete_collection(&DeleteParams::background(), &ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 405 => {}
        other => return other.map(|_| ()),
    }
    for object in left(api).await? {
        let name = object.metadata.name.unwrap_or_default();
        gone_is_fine(api.delete(&name, &DeleteParams::background()).await)?;
    }
    Ok(())
}

async fn left(api: &Api<DynamicObject>) -> Result<Vec<PartialObjectMeta<DynamicObject>>, kube::Error> {
    let mut all = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list_metadata(&params).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = ListParams::default().limit(PAGE).continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn is_not_served(error: &kube::Error) -> bool {
    is_not_found(error) || matches!(error, kube::Error::Api(status) if NOT_SERVED.contains(&status.code))
}
