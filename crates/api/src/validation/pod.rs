//! Pods and pod templates.

mod annotations;
mod container;
mod env;
mod handler;
mod resources;
mod scheduling;
mod security;
mod spec;
mod status;
mod update;
mod volume;

use super::at::At;
use super::{labels, meta};
use crate::field::{Error, ErrorList};
pub(super) use handler::port;
pub(super) use scheduling::{node_selector, tolerations};
pub(super) use status::status;
pub(super) use update::{ephemeral_containers, resize, update};
pub(super) use volume::{access_modes, claim_spec, csi_driver_name, host_path};

/// A pod and a template follow the same rules but for a few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Pod,
    Template,
}

/// The containers of a pod spec, in the order in which Kubernetes visits them.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A new pod.
pub(super) fn create(pod: &At<'_, '_>, errs: &mut ErrorList) {
    metadata_and_spec(pod, errs);
    let spec = pod.get("spec");
    if !spec.get("ephemeralContainers").is_empty() {
        spec.get("ephemeralContainers").forbidden(errs, "cannot be set on create");
    }
    if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
        spec.get("nodeName").forbidden(errs, "cannot be set until all schedulingGates have been cleared");
    }
    annotations::match_fields(&pod.get("metadata").get("annotations"), &spec, errs);
}

fn metadata_and_spec(pod: &At<'_, '_>, errs: &mut ErrorList) {
    let (metadata, spec) = (pod.get("metadata"), pod.get("spec"));
    annotations::pod(&metadata.get("annotations"), &spec, errs);
    spec::spec(&spec, Some(&metadata), Of::Pod, errs);
    if spec.get("serviceAccountName").is_empty() {
        for volume in spec.get("volumes").items() {
            for source in volume.get("projected").get("sources").items() {
                if source.get("serviceAccountToken").is_set() {
                    source.get("serviceAccountToken").forbidden(errs, "must not be specified when serviceAccountName is not set");
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for c in spec.get(list).items() {
            let image = c.get("image");
            if image.str() != image.str().trim() {
                image.invalid(errs, "must not have leading or trailing whitespace");
            }
        }
    }
}

/// A template inside a workload.
pub(super) fn template(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (metadata, spec) = (at.get("metadata"), at.get("spec"));
    // Upstream's template embeds its metadata, so these paths have no `metadata` in them.
    let below = |name: &'static str| At::named(name, metadata.get(name).value());
    prefixed(at, errs, |errs| {
        labels::labels(&below("labels"), errs);
        meta::annotations(&below("annotations"), errs);
        annotations::pod(&below("annotations"), &At::root(spec.value()), errs);
    });
    spec::spec(&spec, None, Of::Template, errs);
    annotations::match_fields(&metadata.get("annotations"), &spec, errs);
    if !spec.get("ephemeralContainers").is_empty() {
        spec.get("ephemeralContainers").forbidden(errs, "ephemeral containers not allowed in pod template");
    }
}

/// Collects errors whose paths start anew, and puts `at`'s path before them.
fn prefixed(at: &At<'_, '_>, errs: &mut ErrorList, check: impl FnOnce(&mut ErrorList)) {
    let mut own = ErrorList::new();
    check(&mut own);
    let prefix = at.path().to_string();
    for e in own {
        let field = crate::field::Path::new(&format!("{prefix}.{}", e.field));
        errs.push(Error { field, ..e });
    }
}

/// A `PodTemplate` object.
pub(super) fn pod_template(at: &At<'_, '_>, errs: &mut ErrorList) {
    template(&at.get("template"), errs);
}

#[cfg(test)]
mod tests;
