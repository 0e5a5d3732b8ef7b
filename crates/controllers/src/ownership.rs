//! Who controls what: controller references, and claiming or releasing objects by selector (`controller_ref_manager`).

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use serde_json::json;

use crate::context::gone_is_fine;

/// The reference to the object's managing controller.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_deref().unwrap_or_default().iter().find(|r| r.controller == Some(true))
}

/// Whether the object's managing controller is the one with this UID.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &str) -> bool {
    controller_of(meta).is_some_and(|r| r.uid == uid)
}

/// A reference that makes `owner` the managing controller.
pub fn controller_ref<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What an owner has to do with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the owner's, and stays so.
    Keep,
    /// Nobody controls it and the selector matches: take it.
    Adopt,
    /// It is the owner's, but the selector no longer matches: let it go.
    Release,
    /// Not the owner's concern.
    Ignore,
}

/// Judges one object by its controller reference and whether the owner's selector matches it.
pub fn judge(owner: &ObjectMeta, object: &ObjectMeta, matches: bool) -> Claim {
    let owner_leaves = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(reference) if Some(&reference.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if matches => Claim::Keep,
        Some(_) if owner_leaves => Claim::Ignore,
        Some(_) => Claim::Release,
        None if owner_leaves || !matches || object.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// Makes `reference` the object's controller. The UID in the patch keeps a newer object of the same name safe.
pub async fn adopt<K>(client: &Client, object: &K, reference: &OwnerReference) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let patch = json!({ "metadata": { "uid": object.meta().uid, "ownerReferences": [reference] } });
    patch_owners(client, object, patch).await.map(|_| ())
}

/// Takes the reference to the owner with `owner_uid` away; an object that is gone or replaced needs nothing.
pub async fn release<K>(client: &Client, object: &K, owner_uid: &str) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let without = [json!({ "$patch": "delete", "uid": owner_uid })];
    let patch = json!({ "metadata": { "uid": object.meta().uid, "ownerReferences": without } });
    match patch_owners(client, object, patch).await {
        Err(kube::Error::Api(status)) if status.code == 422 || status.code == 409 => Ok(()),
        other => gone_is_fine(other),
    }
}

async fn patch_owners<K>(client: &Client, object: &K, patch: serde_json::Value) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let meta = object.meta();
    let api: Api<K> = Api::namespaced(client.clone(), meta.namespace.as_deref().unwrap_or_default());
    api.patch(meta.name.as_deref().unwrap_or_default(), &PatchParams::default(), &Patch::Strategic(patch)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn owned_by(uid: Option<&str>) -> ObjectMeta {
        let reference = |uid: &str| OwnerReference { uid: uid.into(), controller: Some(true), ..Default::default() };
        ObjectMeta { owner_references: uid.map(|uid| vec![reference(uid)]), ..Default::default() }
    }

    #[test]
    fn claims_follow_the_reference_first_and_the_selector_second() {
        let alive = ObjectMeta { uid: Some("me".into()), ..Default::default() };
        let leaving = ObjectMeta { deletion_timestamp: Some(Time(Default::default())), ..alive.clone() };
        let table = [
            (&alive, Some("me"), true, Claim::Keep),
            (&alive, Some("me"), false, Claim::Release),
            (&alive, Some("you"), true, Claim::Ignore),
            (&alive, None, true, Claim::Adopt),
            (&alive, None, false, Claim::Ignore),
            (&leaving, None, true, Claim::Ignore),
            (&leaving, Some("me"), false, Claim::Ignore),
            (&leaving, Some("me"), true, Claim::Keep),
        ];
        for (owner, reference, matches, expected) in table {
            assert_eq!(judge(owner, &owned_by(reference), matches), expected, "{reference:?} {matches}");
        }
        let dying = ObjectMeta { deletion_timestamp: Some(Time(Default::default())), ..Default::default() };
        assert_eq!(judge(&alive, &dying, true), Claim::Ignore);
    }
}
