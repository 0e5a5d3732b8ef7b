//! Which fields nobody can own through a resource or subresource, because its strategy puts them back (`GetResetFields`).

use api::apply::{FieldSet, ResetFields, Step};

use crate::call::Call;

const CONTAINER: Step<'_> = Step::Any;
/// What `resize` may own of a pod.
const RESIZE: &[&[Step<'_>]] = &[
    &[Step::Field("spec"), Step::Field("containers"), CONTAINER, Step::Field("resources")],
    &[Step::Field("spec"), Step::Field("containers"), CONTAINER, Step::Field("resizePolicy")],
    &[Step::Field("spec"), Step::Field("initContainers"), CONTAINER, Step::Field("resources")],
    &[Step::Field("spec"), Step::Field("initContainers"), CONTAINER, Step::Field("resizePolicy")],
];
/// What `ephemeralcontainers` may own of a pod.
const EPHEMERAL: &[&[Step<'_>]] = &[&[Step::Field("spec"), Step::Field("ephemeralContainers")]];

type Paths = &'static [&'static [&'static str]];

/// Whether the resource has a `status` subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Separate,
    None,
}

/// The fields that cannot be owned through the request's resource or subresource.
pub(super) fn of(call: &Call) -> ResetFields<'static> {
    let status = if call.resource.descriptor.subresource("status").is_some() { Status::Separate } else { Status::None };
    match (call.group(), call.info.subresource.as_str()) {
        ("", "resize") => ResetFields::AllBut(RESIZE),
        ("", "ephemeralcontainers") => ResetFields::AllBut(EPHEMERAL),
        (group, subresource) => match paths(group, call.plural(), subresource, status) {
            [] => ResetFields::None,
            paths => ResetFields::These(FieldSet::of_paths(paths)),
        },
    }
}

fn paths(group: &str, plural: &str, subresource: &str, status: Status) -> Paths {
    match (group, plural, subresource) {
        ("certificates.k8s.io", "certificatesigningrequests", "") => &[&["spec"], &["status"]],
        ("certificates.k8s.io", "certificatesigningrequests", "status") => &[&["spec"], &["status", "conditions"]],
        ("certificates.k8s.io", "certificatesigningrequests", "approval") => &[&["spec"], &["status", "certificate"]],
        ("", "namespaces", "finalize") => &[&["status"]],
        ("", "pods", "status") => &[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]],
        ("apps", "deployments", "status") => &[&["spec"], &["metadata", "labels"]],
        (_, _, "status") if keeps_metadata(group, plural) => &[&["spec"], &["metadata"]],
        (_, _, "status") => &[&["spec"]],
        (_, _, "") if status == Status::Separate => &[&["status"]],
        _ => &[],
    }
}

/// Whether writing the status changes nothing of the metadata.
fn keeps_metadata(group: &str, plural: &str) -> bool {
    matches!(
        (group, plural),
        ("flowcontrol.apiserver.k8s.io" | "resource.k8s.io", _)
            | ("networking.k8s.io", "servicecidrs")
            | ("storage.k8s.io", "volumeattachments")
            | ("admissionregistration.k8s.io", "validatingadmissionpolicies")
            | ("internal.apiserver.k8s.io", "storageversions")
            | ("storagemigration.k8s.io", "storageversionmigrations")
            | ("scheduling.k8s.io", "podgroups")
            | ("apiregistration.k8s.io", "apiservices")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_in_resets_what_upstream_resets() {
        let cases: &[(&str, &str, &str, Status, &str)] = &[
            ("", "configmaps", "", Status::None, ""),
            ("apps", "deployments", "", Status::Separate, "status"),
            ("apps", "deployments", "status", Status::Separate, "spec metadata.labels"),
            ("apps", "replicasets", "status", Status::Separate, "spec"),
            ("", "pods", "status", Status::Separate, "spec metadata.deletionTimestamp metadata.ownerReferences"),
            ("", "namespaces", "finalize", Status::Separate, "status"),
            ("storage.k8s.io", "volumeattachments", "status", Status::Separate, "spec metadata"),
            ("admissionregistration.k8s.io", "validatingadmissionpolicies", "status", Status::Separate, "spec metadata"),
            ("scheduling.k8s.io", "podgroups", "status", Status::Separate, "spec metadata"),
            ("certificates.k8s.io", "certificatesigningrequests", "", Status::Separate, "spec status"),
            ("certificates.k8s.io", "certificatesigningrequests", "status", Status::Separate, "spec status.conditions"),
            ("certificates.k8s.io", "certificatesigningrequests", "approval", Status::Separate, "spec status.certificate"),
        ];
        for (group, plural, subresource, status, expected) in cases {
            let got: Vec<String> = paths(group, plural, subresource, *status).iter().map(|p| p.join(".")).collect();
            assert_eq!(got.join(" "), *expected, "{plural}/{subresource}");
        }
    }
}
