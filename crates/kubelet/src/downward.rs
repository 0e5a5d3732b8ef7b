//! The downward API: a pod's own fields and its containers' resources as texts.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use crate::quantity;
use crate::spec;

/// What the pod does not say itself.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The pod's addresses.
    pub pod_ips: Vec<String>,
    /// The node's addresses.
    pub host_ips: Vec<String>,
    /// The node's allocatable resources, the limit of what states none; in thousandths.
    pub allocatable: BTreeMap<String, i64>,
}

/// The value of a `fieldRef` path, or an error text for one that does not exist.
pub fn field(path: &str, pod: &Pod, around: &Surroundings) -> Result<String, String> {
    let (meta, spec) = (&pod.metadata, spec::of(pod));
    let owned = |text: &Option<String>| text.clone().unwrap_or_default();
    if let Some((list, key)) = subscript(path) {
        let map = match list {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => owned(&meta.name),
        "metadata.namespace" => owned(&meta.namespace),
        "metadata.uid" => owned(&meta.uid),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => owned(&spec.node_name),
        "spec.serviceAccountName" => owned(&spec.service_account_name),
        "status.podIP" => around.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => around.pod_ips.join(","),
        "status.hostIP" => around.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => around.host_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (list, key) = path.strip_suffix("']")?.split_once("['")?;
    Some((list, key))
}

/// A map as sorted lines of `key="value"`, the value quoted as Go does.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value)));
    lines.collect::<Vec<_>>().join("\n")
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of a `resourceFieldRef`, in units of its divisor and rounded up.
pub fn resource(selector: &ResourceFieldSelector, container: &Container, around: &Surroundings) -> Result<String, String> {
    let unsupported = || format!("unsupported container resource : {}", selector.resource);
    let (list, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let lists = container.resources.as_ref();
    let stated = |limits: bool| {
        let list = lists.and_then(|r| if limits { r.limits.as_ref() } else { r.requests.as_ref() });
        crate::resources::amount(list, name)
    };
    let amount = match list {
        // What states no limit can use all of the node.
        "limits" => stated(true).filter(|a| *a > 0).or_else(|| around.allocatable.get(name).copied()),
        "requests" => stated(false).or_else(|| stated(true)),
        _ => return Err(unsupported()),
    };
    let amount = amount.unwrap_or(0);
    let divisor = selector.divisor.as_ref().and_then(quantity::milli).filter(|d| *d > 0).unwrap_or(1000);
    // The API defaults an unset divisor to "0", which means one.
    Ok((amount / divisor + i64::from(amount % divisor != 0)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_and_resources() {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "labels": {"b": "x\"y", "a": "1"}}, "spec": {"containers": [], "nodeName": "n"}}),
        )
        .unwrap();
        let around = Surroundings {
            pod_ips: vec!["10.0.0.1".into(), "fd::1".into()],
            allocatable: BTreeMap::from([("cpu".into(), 2000)]),
            ..Surroundings::default()
        };
        let rows = [
            ("metadata.labels", "a=\"1\"\nb=\"x\\\"y\""),
            ("metadata.labels['b']", "x\"y"),
            ("metadata.annotations['no']", ""),
            ("status.podIPs", "10.0.0.1,fd::1"),
            ("spec.nodeName", "n"),
        ];
        for (path, value) in rows {
            assert_eq!(field(path, &pod, &around).unwrap(), value, "{path}");
        }
        assert!(field("spec.containers", &pod, &around).is_err());
        let c: Container =
            serde_json::from_value(json!({"name": "c", "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}}})).unwrap();
        let ask = |resource: &str, divisor: &str| {
            let s: ResourceFieldSelector = serde_json::from_value(json!({"resource": resource, "divisor": divisor})).unwrap();
            super::resource(&s, &c, &around).unwrap()
        };
        assert_eq!(
            (ask("requests.cpu", "1m"), ask("requests.cpu", "0"), ask("limits.memory", "1Mi"), ask("limits.cpu", "1")),
            ("250".into(), "1".into(), "64".into(), "2".into())
        );
    }
}
