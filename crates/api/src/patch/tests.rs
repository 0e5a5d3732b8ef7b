use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::builtin;

fn pod() -> &'static crate::schema::Type {
    builtin().by_gvk("", "v1", "Pod").expect("Pod")
}

fn text(v: &str) -> Value {
    serde_json::from_str(v).expect("test JSON")
}

fn json_error(doc: &Value, operations: &str) -> String {
    let e = json_patch(doc, &text(operations)).expect_err("must fail");
    assert_eq!((e.code, e.message.as_str()), (422, "the server rejected our request due to an error in our request"));
    e.details.expect("details").causes.first().expect("cause").message.clone()
}

#[test]
fn json_patches_apply() {
    for (doc, patch, want) in [
        (
            r#"{"a":1}"#,
            r#"[{"op":"add","path":"/b","value":[1]},{"op":"add","path":"/b/-","value":3},{"op":"add","path":"/b/1","value":2}]"#,
            r#"{"a":1,"b":[1,2,3]}"#,
        ),
        (r#"{"a":[1,2,3]}"#, r#"[{"op":"remove","path":"/a/-1"},{"op":"replace","path":"/a/0","value":null}]"#, r#"{"a":[null,2]}"#),
        (
            r#"{"a":{"x~/y":1}}"#,
            r#"[{"op":"test","path":"/a/x~0~1y","value":1},{"op":"move","from":"/a/x~0~1y","path":"/b"}]"#,
            r#"{"a":{},"b":1}"#,
        ),
        (
            r#"{"a":{"b":[1]}}"#,
            r#"[{"op":"copy","from":"/a","path":"/c"},{"op":"replace","path":"/nope","value":1}]"#,
            r#"{"a":{"b":[1]},"c":{"b":[1]},"nope":1}"#,
        ),
        (r#"{"a":1}"#, r#"[{"op":"test","path":"","value":{"a":1}},{"op":"replace","path":"","value":{"z":2}}]"#, r#"{"z":2}"#),
        (r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/-1","value":2},{"op":"test","path":"/missing","value":null}]"#, r#"{"a":[1,2]}"#),
        ("{}", "[]", "{}"),
    ] {
        assert_eq!(json_patch(&text(doc), &text(patch)), Ok(text(want)), "{patch}");
    }
}

#[test]
fn json_patches_that_do_not_apply_say_why() {
    let doc = json!({"a": [1], "m": {}});
    for (patch, want) in [
        (r#"[{"op":"test","path":"/a/0","value":2}]"#, "testing value /a/0 failed: test failed"),
        (r#"[{"op":"test","path":"/x/y","value":2}]"#, "test operation does not apply: is missing path: /x/y: missing value"),
        (r#"[{"op":"remove","path":"/m/x"}]"#, "error in remove for path: '/m/x': Unable to remove nonexistent key: x: missing value"),
        (
            r#"[{"op":"remove","path":"/a/1"}]"#,
            "error in remove for path: '/a/1': Unable to access invalid index: 1: invalid index referenced",
        ),
        (
            r#"[{"op":"add","path":"/a/x","value":1}]"#,
            "error in add for path: '/a/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (r#"[{"op":"add","path":"/x/y","value":1}]"#, "add operation does not apply: doc is missing path: \"/x/y\": missing value"),
        (r#"[{"op":"replace","path":"/a/7","value":1}]"#, "replace operation does not apply: doc is missing key: /a/7: missing value"),
        (r#"[{"op":"move","from":"/m/q","path":"/z"}]"#, "error in move for path: 'q': Unable to remove nonexistent key: q: missing value"),
        (r#"[{"op":"sing","path":"/z"}]"#, "Unexpected kind: sing"),
        (r#"[{"path":"/z"}]"#, "Unexpected kind: unknown"),
        (r#"[{"op":"add"}]"#, "add operation failed to decode path: missing value"),
    ] {
        assert_eq!(json_error(&doc, patch), want);
    }
}

#[test]
fn json_patches_are_bounded() {
    let many = Value::Array(vec![json!({"op": "test", "path": "/a", "value": 1}); MAX_OPERATIONS + 1]);
    let e = json_patch(&json!({"a": 1}), &many).expect_err("too many");
    assert_eq!(
        (e.code, e.message.as_str()),
        (413, "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001")
    );
    // Each pair of copies doubles the document.
    let double = vec![json!({"op": "copy", "from": "/a", "path": "/a/-"}); 64];
    let why = json_error(&json!({"a": ["x".repeat(1000)]}), &Value::Array(double).to_string());
    assert!(why.contains("accumulated size increase of copy") || why == "exceeded max depth", "{why}");
    let deep: Vec<Value> = (0..200).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/a"})).collect();
    assert_eq!(json_error(&json!({"a": {"a": {}}}), &Value::Array(deep).to_string()), "exceeded max depth");
    let heads: Vec<Value> = (0..600).map(|_| json!({"op": "add", "path": "/a/0", "value": 1})).collect();
    assert_eq!(
        json_error(&json!({"a": vec![0; 100_000]}), &Value::Array(heads).to_string()),
        "error in add for path: '/a/0': the patch moves more than 50000000 list elements"
    );
    let moves: Vec<Value> = (0..300)
        .flat_map(|_| [json!({"op": "move", "from": "/a", "path": "/b"}), json!({"op": "move", "from": "/b", "path": "/a"})])
        .collect();
    assert_eq!(json_patch(&json!({"a": {"x": [1]}}), &Value::Array(moves)), Ok(json!({"a": {"x": [1]}})));
}

#[test]
fn bodies_are_read_in_kubernetes_words() {
    use FieldValidation::{Ignore, Warn};
    for (kind, validation, body, want) in [
        (PatchKind::Json, Warn, "{}", "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        (PatchKind::Json, Ignore, "{}", "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
        (PatchKind::Json, Warn, "invalid json patch", "error decoding patch: invalid character 'i' looking for beginning of value"),
        (PatchKind::Merge, Ignore, "{", "Invalid JSON Patch"),
        (PatchKind::Merge, Warn, "[]", "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (PatchKind::Strategic, Warn, "[]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ] {
        let e = read(kind, body.as_bytes(), validation).expect_err(body);
        assert_eq!((e.code, e.message.as_str()), (400, want));
    }
    let d = read(PatchKind::Json, br#"[{"op":"add","op":"add","path":"/a","what":1}]"#, Warn).expect("valid");
    assert_eq!(d.warnings, [r#"json patch duplicate field "[0].op""#, r#"json patch unknown field "[0].what""#]);
}

#[test]
fn merge_patches_follow_rfc_7396() {
    for (doc, patch, want) in [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":{"b":1}}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
        (r#"{"a":"foo"}"#, r#"{"b":{"c":null,"d":{"e":null}}}"#, r#"{"a":"foo","b":{"d":{}}}"#),
        (r#"{"a":"foo"}"#, "[1]", "[1]"),
    ] {
        assert_eq!(merge_patch(&text(doc), &text(patch)), text(want), "{patch}");
    }
}

#[test]
fn strategic_patches_apply() {
    for (doc, patch, want) in [
        // Lists of maps merge by key, at the patch's place.
        (
            r#"{"spec":{"containers":[{"name":"a","image":"1"},{"name":"b"}]}}"#,
            r#"{"spec":{"containers":[{"name":"a","image":"2"},{"name":"c"}]}}"#,
            r#"{"spec":{"containers":[{"name":"a","image":"2"},{"name":"c"},{"name":"b"}]}}"#,
        ),
        (
            r#"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            r#"{"spec":{"containers":[{"name":"a","$patch":"delete"}]}}"#,
            r#"{"spec":{"containers":[{"name":"b"}]}}"#,
        ),
        (
            r#"{"spec":{"containers":[{"name":"a"},{"name":"b"}]}}"#,
            r#"{"spec":{"containers":[{"$patch":"replace"},{"name":"c"}]}}"#,
            r#"{"spec":{"containers":[{"name":"c"}]}}"#,
        ),
        (
            r#"{"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"c"}]}}"#,
            r#"{"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"a"}],"containers":[{"name":"a","image":"x"}]}}"#,
            r#"{"spec":{"containers":[{"name":"b"},{"name":"c"},{"name":"a","image":"x"}]}}"#,
        ),
        // Atomic lists are replaced.
        (
            r#"{"spec":{"containers":[{"name":"a","args":["x"]}]}}"#,
            r#"{"spec":{"containers":[{"name":"a","args":["y"]}]}}"#,
            r#"{"spec":{"containers":[{"name":"a","args":["y"]}]}}"#,
        ),
        // Finalizers are a list of scalars that merges.
        (
            r#"{"metadata":{"finalizers":["a","b"]}}"#,
            r#"{"metadata":{"finalizers":["c","a"]}}"#,
            r#"{"metadata":{"finalizers":["c","a","b"]}}"#,
        ),
        (
            r#"{"metadata":{"finalizers":["a","b","c"]}}"#,
            r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["a","z"]}}"#,
            r#"{"metadata":{"finalizers":["b","c"]}}"#,
        ),
        (
            r#"{"metadata":{"finalizers":["a","b"]}}"#,
            r#"{"metadata":{"$setElementOrder/finalizers":["b","x","a"],"finalizers":["x"]}}"#,
            r#"{"metadata":{"finalizers":["b","x","a"]}}"#,
        ),
        // Maps: null deletes, directives replace or empty.
        (
            r#"{"metadata":{"labels":{"a":"1","b":"2"}}}"#,
            r#"{"metadata":{"labels":{"a":null,"c":"3"}}}"#,
            r#"{"metadata":{"labels":{"b":"2","c":"3"}}}"#,
        ),
        (
            r#"{"metadata":{"labels":{"a":"1"}}}"#,
            r#"{"metadata":{"labels":{"$patch":"replace","c":"3"}}}"#,
            r#"{"metadata":{"labels":{"c":"3"}}}"#,
        ),
        (r#"{"metadata":{"labels":{"a":"1"}}}"#, r#"{"metadata":{"labels":{"$patch":"delete"}}}"#, r#"{"metadata":{"labels":{}}}"#),
        (
            r#"{"metadata":{}}"#,
            r#"{"metadata":{"labels":{"a":null,"b":"1"},"annotations":{"$patch":"delete"}}}"#,
            r#"{"metadata":{"labels":{"b":"1"}}}"#,
        ),
        // retainKeys clears the other members of a union.
        (
            r#"{"spec":{"volumes":[{"name":"v","emptyDir":{}}]}}"#,
            r#"{"spec":{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}}"#,
            r#"{"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}}"#,
        ),
    ] {
        assert_eq!(strategic_merge(&text(doc), &text(patch), pod()), Ok(text(want)), "{patch}");
    }
}

#[test]
fn strategic_patches_that_do_not_fit_say_why() {
    let doc = json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["a"]}, "spec": {"containers": [{"name": "a"}], "tolerations": [{"key": "k"}]}});
    for (patch, code, want) in [
        (r#"{"spec":{"containers":[{"image":"x","n":1.5}]}}"#, 500, "map: map[image:x n:1.5] does not contain declared merge key: name"),
        (r#"{"spec":{"containers":[{"$patch":"delete"}]}}"#, 500, "map: map[$patch:delete] does not contain declared merge key: name"),
        (r#"{"spec":{"containers":[{"name":"a","$patch":"merge"}]}}"#, 500, "merging lists cannot yet be specified in the patch"),
        (r#"{"spec":{"$patch":"what"}}"#, 500, "unknown patch type: what in map: map[$patch:what]"),
        (r#"{"spec":{"$retainKeys":"x"}}"#, 400, "invalid patch format of retainKeys"),
        (r#"{"spec":{"$retainKeys":["a"],"nodeName":"n"}}"#, 400, "invalid patch format of retainKeys"),
        (r#"{"metadata":{"$deleteFromPrimitiveList":["a"]}}"#, 400, "invalid patch format of primitive list"),
        (r#"{"metadata":{"$setElementOrderX/finalizers":["a"]}}"#, 400, "invalid patch format of setElementOrder list"),
        (r#"{"metadata":{"finalizers":[1]}}"#, 500, "list element types are not identical: [[a] [1]]"),
        (
            r#"{"spec":{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"name":"a"}]}}"#,
            500,
            "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
        (r#"{"spec":{"$setElementOrder/nope":[]}}"#, 500, "unable to find api field in struct PodSpec for the json field \"nope\""),
    ] {
        let e = strategic_merge(&doc, &text(patch), pod()).expect_err(patch);
        assert_eq!((e.code, e.message.as_str()), (code, want));
    }
    let e = strategic_merge(&json!({"metadata": {"finalizers": [["a"]]}}), &json!({"metadata": {"finalizers": [["b"]]}}), pod())
        .expect_err("nested");
    assert_eq!(e.code, 422);
}

/// JSON whose members often meet the schema's names and the orders of patches.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        "[ab$/~0-9-]{0,3}".prop_map(Value::from),
        Just(json!("replace")),
        Just(json!("delete")),
        Just(json!(1.5))
    ];
    let names = prop::sample::select(vec![
        "metadata",
        "spec",
        "labels",
        "finalizers",
        "containers",
        "name",
        "image",
        "$patch",
        "$retainKeys",
        "ports",
        "containerPort",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "$setElementOrder/finalizers",
        "op",
        "path",
        "from",
        "value",
    ]);
    leaf.prop_recursive(5, 48, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn operations() -> impl Strategy<Value = Value> {
    let path = "(/(metadata|spec|labels|name|[0-9]|-1|-)){0,4}";
    let op = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test", "x"]);
    prop::collection::vec(
        (op, path, path, anything()).prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value})),
        0..8,
    )
    .prop_map(Value::from)
}

/// A patch that RFC 7396 says turns `a` into `b`, where `b` has no null.
fn diff(a: &Value, b: &Value) -> Value {
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return b.clone() };
    let mut out = serde_json::Map::new();
    a.keys().filter(|k| !b.contains_key(*k)).for_each(|k| drop(out.insert(k.clone(), Value::Null)));
    for (k, v) in b {
        match a.get(k) {
            Some(old) if old == v => {}
            Some(old @ Value::Object(_)) if v.is_object() => drop(out.insert(k.clone(), diff(old, v))),
            _ => drop(out.insert(k.clone(), v.clone())),
        }
    }
    Value::Object(out)
}

proptest! {
    #[test]
    fn hostile_patches_never_panic(doc in anything(), patch in anything(), ops in operations()) {
        let _ = strategic_merge(&doc, &patch, pod());
        let _ = merge_patch(&doc, &patch);
        let _ = json_patch(&doc, &ops);
        let _ = json_patch(&doc, &patch);
        for kind in [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic] {
            let _ = read(kind, patch.to_string().as_bytes(), FieldValidation::Warn);
        }
    }

    #[test]
    fn merging_the_difference_reproduces(a in anything(), b in anything()) {
        let (a, b) = (merge_patch(&json!([]), &json!({"o": a})), merge_patch(&json!([]), &json!({"o": b})));
        prop_assert_eq!(merge_patch(&a, &diff(&a, &b)), b);
    }

    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for kind in [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic] {
            let _ = read(kind, &bytes, FieldValidation::Ignore);
        }
    }
}
