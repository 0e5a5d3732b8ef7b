//! Rules that all kinds share. The rules of one kind are tested beside them.

use serde_json::{Value, json};

use super::{create, update};

/// The errors as Kubernetes prints them.
pub(super) fn shown(errs: &[crate::field::Error]) -> Vec<String> {
    errs.iter().map(ToString::to_string).collect()
}

fn with_meta(meta: Value) -> Value {
    json!({"metadata": meta})
}

#[test]
fn metadata_of_a_new_object() {
    const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
        and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let bad_name = format!("metadata.name: Invalid value: \"Foo_bar\": {SUBDOMAIN}");
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({"name": "a", "namespace": "b"}), vec![]),
        (json!({"name": "a"}), vec!["metadata.namespace: Required value"]),
        (json!({"namespace": "b"}), vec!["metadata.name: Required value: name or generateName is required"]),
        (json!({"name": "Foo_bar", "namespace": "b"}), vec![&bad_name]),
        (json!({"name": "a", "generateName": "a-", "namespace": "b"}), vec![]),
        (
            json!({"name": "a", "namespace": "b", "labels": {"a/b/c": "x"}}),
            vec![
                "metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and \
                 must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation \
                 is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
            ],
        ),
        (
            json!({"name": "a", "namespace": "b", "labels": {"a": "-"}}),
            vec![
                "metadata.labels: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' \
                 or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
                 validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ],
        ),
        (
            json!({"name": "a", "namespace": "b", "finalizers": ["mine"]}),
            vec!["metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"],
        ),
        (
            json!({"name": "a", "namespace": "b", "annotations": {"a": "x".repeat(256 * 1024)}}),
            vec!["metadata.annotations: Too long: may not be more than 262144 bytes"],
        ),
        (
            json!({"name": "a", "namespace": "b", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}),
            vec!["metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"],
        ),
    ];
    for (meta, want) in cases {
        assert_eq!(shown(&create("", "v1", "ServiceAccount", &with_meta(meta.clone()))), want, "{meta}");
    }
}

#[test]
fn cluster_kinds_have_no_namespace() {
    let errs = create("", "v1", "Namespace", &with_meta(json!({"name": "a.b", "namespace": "c"})));
    assert_eq!(
        shown(&errs),
        ["metadata.name: Invalid value: \"a.b\": must not contain dots", "metadata.namespace: Forbidden: not allowed on this type"]
    );
}

#[test]
fn metadata_of_a_changed_object() {
    let old = json!({"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"});
    let mut new = old.clone();
    new["uid"] = json!("v");
    new["resourceVersion"] = json!("");
    new["finalizers"] = json!(["a/b"]);
    let errs = update("", "v1", "ServiceAccount", &with_meta(new), &with_meta(old));
    assert_eq!(
        shown(&errs),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a/b\"}",
            "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
            "metadata.uid: Invalid value: \"v\": field is immutable",
        ]
    );
}
