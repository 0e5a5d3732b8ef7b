use proptest::prelude::*;
use serde_json::json;

use super::*;

fn deployment() -> (Gvk, Option<&'static Type>) {
    (Gvk::new("apps", "v1", "Deployment"), builtin().by_gvk("apps", "v1", "Deployment"))
}

fn decode(text: &str, encoding: Encoding, validation: FieldValidation) -> Result<Decoded, String> {
    let (gvk, ty) = deployment();
    decode_body(text.as_bytes(), encoding, &gvk, ty, validation).map_err(|e| {
        assert_eq!(e.code, 400);
        e.message
    })
}

fn pod(text: &str) -> Result<Decoded, String> {
    decode_json(text.as_bytes(), builtin().by_gvk("", "v1", "Pod"), FieldValidation::Strict).map_err(|e| e.message)
}

#[test]
fn unknown_and_duplicate_fields_are_told_in_the_texts_order() {
    let text = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","unknownMeta":1},
        "spec":{"unknownField":{"x":1},"replicas":1,"replicas":2,"template":{"spec":{"containers":[{"name":"a","imgae":"b"}]}}}}"#;
    assert_eq!(
        decode(text, Encoding::Json, FieldValidation::Strict),
        Err("Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \"metadata.unknownMeta\", \
             unknown field \"spec.unknownField\", duplicate field \"spec.replicas\", unknown field \"spec.template.spec.containers[0].imgae\"".to_owned())
    );
    let warned = decode(text, Encoding::Json, FieldValidation::Warn).expect("warns only");
    assert_eq!(warned.warnings.len(), 4);
    assert_eq!(warned.warnings[2], "duplicate field \"spec.replicas\"");
    assert_eq!(warned.object["spec"]["replicas"], 2);
    assert!(warned.object["spec"].get("unknownField").is_none());
    assert!(decode(text, Encoding::Json, FieldValidation::Ignore).is_ok_and(|d| d.warnings.is_empty()));
}

#[test]
fn yaml_typos_are_told_as_upstream_does() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  paused: true\n  replicas: 2\n  unknownField: 1\n";
    assert_eq!(
        decode(text, Encoding::Yaml, FieldValidation::Strict),
        Err("Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: yaml: unmarshal errors:\n  \
             line 8: key \"replicas\" already set in map, unknown field \"spec.unknownField\""
            .to_owned())
    );
    assert_eq!(decode(text, Encoding::Yaml, FieldValidation::Ignore).map(|d| d.object["spec"]["replicas"].clone()), Ok(json!(2)));
    assert_eq!(
        decode("a: b: c", Encoding::Yaml, FieldValidation::Strict),
        Err("the object provided is unrecognized (must be of type Deployment): yaml: mapping values are not allowed in this context (613a20623a2063)".to_owned())
    );
}

#[test]
fn wrong_types_get_gos_sentence() {
    for (body, want) in [
        (
            r#"{"spec":{"replicas":"three"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"replicas":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            r#"{"spec":{"replicas":3000000000}}"#,
            "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (r#"{"spec":[]}"#, "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        (r#"{"metadata":{"name":1}}"#, "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string"),
        (
            r#"{"metadata":{"labels":{"a":true}}}"#,
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"image":{}}]}}}}"#,
            "json: cannot unmarshal object into Go struct field Container.spec.template.spec.containers.image of type string",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":{}}}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
        ),
        (
            r#"{"spec":{"template":{"spec":{"containers":[{"resources":{"limits":{"cpu":"much"}}}]}}}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ] {
        let want = format!("Deployment in version \"v1\" cannot be handled as a Deployment: {want}");
        assert_eq!(decode(body, Encoding::Json, FieldValidation::Strict).map(|d| d.object), Err(want), "{body}");
    }
}

#[test]
fn unreadable_bodies_get_gos_sentence() {
    for (body, want) in [
        ("", "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"),
        (
            "{\"a\":1,}",
            "couldn't get version/kind; json parse error: invalid character '}' looking for beginning of object key string ({\"a\":1,})",
        ),
        (
            "{\"kind\":1}",
            "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string ({\"kind\":1})",
        ),
        ("{\"apiVersion\":\"a/b/c\"}", "unexpected GroupVersion string: a/b/c ({\"apiVersion\":\"a/b/c\"})"),
    ] {
        let want = format!("the object provided is unrecognized (must be of type Deployment): {want}");
        assert_eq!(decode(body, Encoding::Json, FieldValidation::Warn).map(|d| d.object), Err(want), "{body}");
    }
    let deep = format!("{{\"metadata\":{{\"managedFields\":[{{\"fieldsV1\":{}", "{\"a\":".repeat(1000));
    assert!(decode(&deep, Encoding::Json, FieldValidation::Warn).is_err_and(|e| e.contains("exceeded max depth")));
}

#[test]
fn other_kinds_and_versions_are_refused() {
    for (body, want) in [
        (
            r#"{"kind":"Foo","apiVersion":"apps/v1"}"#,
            "Foo in version \"v1\" cannot be handled as a Deployment: no kind \"Foo\" is registered for version \"apps/v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            r#"{"kind":"Pod","apiVersion":"v1"}"#,
            "Pod in version \"v1\" cannot be handled as a Deployment: converting (v1.Pod) to (apps.Deployment): unknown conversion",
        ),
    ] {
        assert_eq!(decode(body, Encoding::Json, FieldValidation::Warn).map(|d| d.object), Err(want.to_owned()));
    }
    let gvk = Gvk::new("events.k8s.io", "v1", "Event");
    let e = decode_body(
        br#"{"kind":"Event","apiVersion":"v1"}"#,
        Encoding::Json,
        &gvk,
        builtin().by_gvk("events.k8s.io", "v1", "Event"),
        FieldValidation::Warn,
    );
    assert_eq!(
        e.map_err(|e| e.message),
        Err("the API version in the data (v1) does not match the expected API version (events.k8s.io/v1)".to_owned())
    );
}

#[test]
fn objects_come_out_as_upstream_would_write_them() {
    let got =
        pod(r#"{"metadata":{"name":"a","labels":{},"annotations":null,"creationTimestamp":"2024-05-06T09:08:09.5+02:00","generation":0},
        "spec":{"containers":[{"name":"c","image":"","command":[],"resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}},
            "livenessProbe":{"httpGet":{"port":"http","path":""},"periodSeconds":0},"securityContext":{}}],
            "terminationGracePeriodSeconds":0,"hostNetwork":false,"nodeName":""}}"#);
    assert_eq!(
        got.map(|d| d.object),
        Ok(json!({
            "metadata": {"name": "a", "creationTimestamp": "2024-05-06T07:08:09Z"},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"port": "http"}}, "securityContext": {}}], "terminationGracePeriodSeconds": 0},
            "status": {},
        }))
    );
}

#[test]
fn kept_fields_of_zero_value_are_written() {
    assert_eq!(
        pod(r#"{"metadata":{},"spec":{}}"#).map(|d| d.object),
        Ok(json!({"metadata": {}, "spec": {"containers": null}, "status": {}}))
    );
    let mut built = json!({"spec": {"containers": [{"name": "a", "args": []}], "nodeName": ""}, "status": null});
    normalize(&mut built, builtin().by_gvk("", "v1", "Pod").expect("Pod"));
    assert_eq!(built, json!({"metadata": {}, "spec": {"containers": [{"name": "a", "resources": {}}]}, "status": {}}));
}

#[test]
fn free_json_is_kept() {
    let text = r#"{"a":[1,2.5,1.0,1e3,-0,null,"é\ud83d\ude00\ud800"],"b":{"c":true,"c":false}}"#;
    let got = decode_json(text.as_bytes(), None, FieldValidation::Warn).expect("valid");
    assert_eq!(got.object, json!({"a": [1, 2.5, 1, 1000, 0, null, "é😀\u{fffd}"], "b": {"c": false}}));
    assert_eq!(got.warnings, ["duplicate field \"b.c\""]);
    let crd = builtin().by_gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let schema = r#"{"spec":{"versions":[{"schema":{"openAPIV3Schema":{"type":"object","additionalProperties":true,"minimum":1.0,
        "items":{"type":"string","wrong":1},"properties":{"x":{"default":null,"enum":[null,"a"]}}}}}]}}"#;
    let got = decode_json(schema.as_bytes(), crd, FieldValidation::Strict).expect("valid").object;
    assert_eq!(
        got["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        json!({"type": "object", "additionalProperties": true, "minimum": 1,
        "items": {"type": "string"}, "properties": {"x": {"enum": [null, "a"]}}})
    );
}

proptest! {
    #[test]
    fn decoding_never_panics(text in r#"[\[\]{}:,"a-z0-9.eE+\\ntu-]{0,60}"#) {
        let _ = decode_json(text.as_bytes(), builtin().by_gvk("", "v1", "Pod"), FieldValidation::Strict);
        // The decoder and the scanner that explains its refusals must agree on what JSON is.
        let refused = decode_json(text.as_bytes(), None, FieldValidation::Ignore).is_err();
        if syntax::complaint(text.as_bytes()).is_some() {
            prop_assert!(refused);
        }
        prop_assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), syntax::complaint(text.as_bytes()).is_none() && !refused);
    }
}
