//! Which objects the pods of a node refer to.
//!
//! Nothing is kept between questions but each pod's parsed references, by revision: a kubelet asks about single objects, seldom.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use crate::auth::objects::{Objects, Stored, keys};

/// Parsed pods that are kept at most; when there are more, all are forgotten and parsed again as needed.
const MAX_KNOWN: usize = 200_000;
/// How deep references may be nested in a pod; deeper is no reference that Kubernetes knows.
const MAX_DEPTH: usize = 12;

pub(super) struct References {
    objects: Arc<dyn Objects>,
    known: Mutex<HashMap<Arc<str>, Known>>,
}

/// A pod's facts, and the revision that they are of.
type Known = (u64, Arc<PodFacts>);

/// What one pod refers to; names are in its namespace.
#[derive(Debug, Default)]
struct PodFacts {
    node: String,
    mirror: bool,
    /// Resource and name.
    refers: HashSet<(&'static str, String)>,
}

#[derive(Deserialize)]
struct Slice {
    spec: SliceSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceSpec {
    #[serde(default)]
    node_name: String,
}

impl References {
    pub(super) fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects, known: Mutex::default() }
    }

    /// Whether a pod on the node (or the object itself) ties the object to the node.
    pub(super) fn related(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        match resource {
            "pods" => {
                let key = format!("{}{namespace}/{name}", keys::PODS);
                self.objects.get(&key).and_then(|json| serde_json::from_slice::<Value>(&json).ok()).is_some_and(|pod| node_of(&pod) == node)
            }
            "volumeattachments" => self.names_node(keys::ATTACHMENTS, name, node),
            "resourceslices" => self.names_node(keys::RESOURCE_SLICES, name, node),
            "persistentvolumes" => self.volume(name).is_some_and(|v| self.uses_volume(node, &v)),
            "secrets" => self.referred(node, resource, namespace, name) || self.secret_of_volume(node, namespace, name),
            "configmaps" | "persistentvolumeclaims" | "resourceclaims" | "serviceaccounts" => {
                self.referred(node, resource, namespace, name)
            }
            _ => false,
        }
    }

    fn names_node(&self, prefix: &str, name: &str, node: &str) -> bool {
        let json = self.objects.get(&format!("{prefix}{name}"));
        json.and_then(|json| serde_json::from_slice::<Slice>(&json).ok()).is_some_and(|s| s.spec.node_name == node)
    }

    fn referred(&self, node: &str, resource: &str, namespace: &str, name: &str) -> bool {
        let wanted =
            |facts: &PodFacts| facts.node == node && !facts.mirror && facts.refers.iter().any(|(r, n)| *r == resource && n == name);
        self.objects.list(&format!("{}{namespace}/", keys::PODS)).iter().any(|stored| self.facts(stored).is_some_and(|f| wanted(&f)))
    }

    fn facts(&self, stored: &Stored) -> Option<Arc<PodFacts>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, facts)) = known.get(&stored.key)
            && *revision == stored.revision
        {
            return Some(facts.clone());
        }
        let pod: Value = serde_json::from_slice(&stored.json).ok()?;
        let facts = Arc::new(PodFacts::of(&pod));
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(stored.key.clone(), (stored.revision, facts.clone()));
        Some(facts)
    }

    fn volume(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(&self.objects.get(&format!("{}{name}", keys::VOLUMES))?).ok()
    }

    fn uses_volume(&self, node: &str, volume: &Value) -> bool {
        let claim = |key: &str| text(volume.pointer("/spec/claimRef").unwrap_or(&Value::Null), key).to_owned();
        let (namespace, name) = (claim("namespace"), claim("name"));
        !name.is_empty() && self.referred(node, "persistentvolumeclaims", &namespace, &name)
    }

    /// A secret that a volume's driver needs belongs to the node that uses the volume.
    fn secret_of_volume(&self, node: &str, namespace: &str, name: &str) -> bool {
        self.objects.list(keys::VOLUMES).iter().any(|stored| {
            let Ok(volume) = serde_json::from_slice::<Value>(&stored.json) else { return false };
            let Some(spec) = volume.get("spec") else { return false };
            let claim_namespace = spec.pointer("/claimRef/namespace").and_then(Value::as_str).unwrap_or_default();
            names_secret(spec, namespace, name, claim_namespace, 0) && self.uses_volume(node, &volume)
        })
    }
}

fn names_secret(at: &Value, namespace: &str, name: &str, default_namespace: &str, depth: usize) -> bool {
    if depth > MAX_DEPTH {
        return false;
    }
    let Some(map) = at.as_object() else { return false };
    map.iter().any(|(key, value)| {
        if matches!(key.as_str(), "secretRef" | "nodePublishSecretRef" | "nodeStageSecretRef" | "nodeExpandSecretRef") {
            let own = text(value, "namespace");
            let at = if own.is_empty() { default_namespace } else { own };
            return at == namespace && text(value, "name") == name;
        }
        names_secret(value, namespace, name, default_namespace, depth + 1)
    })
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn node_of(pod: &Value) -> &str {
    pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default()
}

impl PodFacts {
    fn of(pod: &Value) -> Self {
        let mut facts = Self { node: node_of(pod).to_owned(), ..Self::default() };
        facts.mirror = pod.pointer("/metadata/annotations").is_some_and(|a| a.get("kubernetes.io/config.mirror").is_some());
        let spec = pod.get("spec").unwrap_or(&Value::Null);
        facts.add("serviceaccounts", text(spec, "serviceAccountName"));
        for secret in list(spec, "imagePullSecrets") {
            facts.add("secrets", text(secret, "name"));
        }
        for kind in ["containers", "initContainers", "ephemeralContainers"] {
            list(spec, kind).for_each(|c| facts.container(c));
        }
        let pod_name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        list(spec, "volumes").for_each(|v| facts.volume(v, pod_name));
        for claim in list(spec, "resourceClaims") {
            facts.add("resourceclaims", text(claim, "resourceClaimName"));
        }
        for claim in list(pod.get("status").unwrap_or(&Value::Null), "resourceClaimStatuses") {
            facts.add("resourceclaims", text(claim, "resourceClaimName"));
        }
        facts
    }

    fn add(&mut self, resource: &'static str, name: &str) {
        if !name.is_empty() {
            self.refers.insert((resource, name.to_owned()));
        }
    }

    fn container(&mut self, c: &Value) {
        for source in list(c, "envFrom") {
            self.add("secrets", text(source.get("secretRef").unwrap_or(&Value::Null), "name"));
            self.add("configmaps", text(source.get("configMapRef").unwrap_or(&Value::Null), "name"));
        }
        for env in list(c, "env") {
            let from = env.get("valueFrom").unwrap_or(&Value::Null);
            self.add("secrets", text(from.get("secretKeyRef").unwrap_or(&Value::Null), "name"));
            self.add("configmaps", text(from.get("configMapKeyRef").unwrap_or(&Value::Null), "name"));
        }
    }

    fn volume(&mut self, v: &Value, pod_name: &str) {
        let null = Value::Null;
        let at = |key: &str| v.get(key).unwrap_or(&null);
        self.add("persistentvolumeclaims", text(at("persistentVolumeClaim"), "claimName"));
        if v.get("ephemeral").is_some_and(|e| !e.is_null()) {
            self.add("persistentvolumeclaims", &format!("{pod_name}-{}", text(v, "name")));
        }
        self.add("secrets", text(at("secret"), "secretName"));
        self.add("configmaps", text(at("configMap"), "name"));
        for source in list(at("projected"), "sources") {
            self.add("secrets", text(source.get("secret").unwrap_or(&null), "name"));
            self.add("configmaps", text(source.get("configMap").unwrap_or(&null), "name"));
        }
        for (_, source) in v.as_object().into_iter().flatten() {
            for key in ["secretRef", "nodePublishSecretRef"] {
                self.add("secrets", text(source.get(key).unwrap_or(&null), "name"));
            }
        }
        self.add("secrets", text(at("azureFile"), "secretName"));
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}
