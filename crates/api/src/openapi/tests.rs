use serde_json::json;

use super::*;
use crate::resources::{builtin_resources, by_plural};

pub(super) fn served() -> Vec<Served<'static>> {
    builtin_resources().iter().filter(|r| r.enabled_by_default).map(|resource| Served { resource, schema: None }).collect()
}

/// Every `$ref` in a document, with whether its target exists.
fn references(value: &Value, document: &Value, bad: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                let pointer = target.trim_start_matches('#');
                if document.pointer(pointer).is_none_or(Value::is_null) {
                    bad.push(target.clone());
                }
            }
            map.values().for_each(|v| references(v, document, bad));
        }
        Value::Array(list) => list.iter().for_each(|v| references(v, document, bad)),
        _ => {}
    }
}

#[test]
fn documents_are_closed_under_references() {
    let served = served();
    let mut bad = Vec::new();
    let index = v3_index(&served);
    for (path, entry) in index["paths"].as_object().expect("paths") {
        let (root, rest) = path.split_once('/').expect("two parts");
        let (group, version) = if root == "api" { ("", rest) } else { rest.split_once('/').expect("group") };
        let document = v3_document(group, version, &served, "v1.36.2").expect("served");
        references(&document, &document, &mut bad);
        assert!(entry["serverRelativeURL"].as_str().expect("url").starts_with(&format!("/openapi/v3/{path}?hash=")));
    }
    let v2 = v2_document(&served, "v1.36.2");
    references(&v2, &v2, &mut bad);
    assert!(bad.is_empty(), "{bad:?}");
    assert!(v3_document("nope", "v1", &served, "v1.36.2").is_none());
}

#[test]
fn kubectl_finds_what_it_looks_for() {
    let document = v3_document("apps", "v1", &served(), "v1.36.2").expect("served");
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"], json!({"group": "apps", "version": "v1", "kind": "Deployment"}));
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    assert!(patch["parameters"].as_array().expect("parameters").iter().any(|p| p["name"] == "fieldValidation" && p["in"] == "query"));
    let schemas = &document["components"]["schemas"];
    let spec = &schemas["io.k8s.api.core.v1.PodSpec"];
    assert_eq!(spec["required"], json!(["containers"]));
    assert_eq!(
        spec["properties"]["containers"],
        json!({
            "type": "array", "items": {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"},
            "x-kubernetes-list-map-keys": ["name"], "x-kubernetes-list-type": "map",
            "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge",
        })
    );
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
    );
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"],
        json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}], "default": {}})
    );
    let core = v3_document("", "v1", &served(), "v1.36.2").expect("served");
    let exec = &core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]["post"];
    assert_eq!(exec["x-kubernetes-action"], "connect");
    assert!(exec["parameters"].as_array().expect("parameters").iter().any(|p| p["name"] == "tty"));
}

#[test]
fn hashes_change_with_what_is_served() {
    let pods = Served { resource: by_plural("", "v1", "pods").expect("pods"), schema: None };
    let maps = Served { resource: by_plural("", "v1", "configmaps").expect("configmaps"), schema: None };
    assert_eq!(v3_hash("", "v1", &[pods]), v3_hash("", "v1", &[pods]));
    assert_ne!(v3_hash("", "v1", &[pods]), v3_hash("", "v1", &[pods, maps]));
}

#[test]
fn custom_resources_bring_their_schema() {
    let r = ResourceDescriptor {
        group: "example.com".into(),
        version: "v1".into(),
        kind: "Foo".into(),
        plural: "foos".into(),
        verbs: vec!["list".into(), "patch".into()],
        ..Default::default()
    };
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object"}}});
    let served = [Served { resource: &r, schema: Some(&schema) }];
    let document = v2_document(&served, "v1.36.2");
    assert_eq!(
        document["definitions"]["com.example.v1.Foo"],
        json!({
            "type": "object",
            "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "spec": {"type": "object"},
                "metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}},
            "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Foo"}],
        })
    );
    let mut bad = Vec::new();
    references(&document, &document, &mut bad);
    assert!(bad.is_empty(), "{bad:?}");
}
