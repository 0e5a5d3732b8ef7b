use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::schema::builtin;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// One object under a sequence of writes.
struct Run {
    gvk: Gvk,
    object: Option<Value>,
    schema: bool,
}

impl Run {
    fn deployment() -> Self {
        Self { gvk: Gvk::new("apps", "v1", "Deployment"), object: None, schema: true }
    }

    fn custom() -> Self {
        Self { gvk: Gvk::new("x.y", "v1", "Widget"), object: None, schema: false }
    }

    fn target<'a>(&'a self, subresource: &'a str, reset: &'a ResetFields<'a>) -> Target<'a> {
        let schema = if self.schema { builtin().by_gvk(&self.gvk.group, &self.gvk.version, &self.gvk.kind) } else { None };
        Target { schema, gvk: &self.gvk, subresource, reset }
    }

    fn with_kind(&self, mut tree: Value) -> Value {
        tree["apiVersion"] = json!(self.gvk.api_version());
        tree["kind"] = json!(self.gvk.kind);
        tree
    }

    fn try_apply(&mut self, manager: &str, force: Force, seconds: u64, config: Value) -> Result<Outcome, ApiError> {
        let config = self.with_kind(config);
        let reset = ResetFields::None;
        let done = apply(&self.target("", &reset), self.object.as_ref(), &config, manager, force, at(seconds))?;
        let mut object = done.object;
        object["metadata"]["uid"] = json!("u");
        self.object = Some(object);
        Ok(done.outcome)
    }

    fn apply(&mut self, manager: &str, seconds: u64, config: Value) -> Outcome {
        self.try_apply(manager, Force::No, seconds, config).expect("applies")
    }

    fn update(&mut self, manager: &str, subresource: &str, seconds: u64, change: impl FnOnce(&mut Value)) {
        let mut new = self.object.clone().unwrap_or_else(|| self.with_kind(json!({})));
        change(&mut new);
        let reset = ResetFields::None;
        update(&self.target(subresource, &reset), self.object.as_ref(), &mut new, manager, at(seconds));
        new["metadata"]["uid"] = json!("u");
        self.object = Some(new);
    }

    fn get(&self, pointer: &str) -> Option<&Value> {
        self.object.as_ref().and_then(|o| o.pointer(pointer))
    }

    /// `manager operation subresource time fields` per entry.
    fn owners(&self) -> Vec<String> {
        let word = |e: &Value, k: &str| e.get(k).and_then(Value::as_str).unwrap_or("-").to_owned();
        let list = update::list_of(self.object.as_ref().expect("object"));
        let line = |e: &Value| {
            let paths = encoding::decode(&e["fieldsV1"]).expect("set").paths().join(" ");
            let time = word(e, "time");
            format!(
                "{} {} {} {} {}",
                word(e, "manager"),
                word(e, "operation"),
                word(e, "subresource"),
                time.get(17..19).unwrap_or("-"),
                paths
            )
        };
        list.iter().map(line).collect()
    }
}

#[test]
fn a_create_owns_what_it_sets() {
    let mut run = Run::deployment();
    run.update("kubectl", "", 1, |o| {
        o["metadata"] = json!({"name": "d", "labels": {"a": "b"}, "generation": 1});
        o["spec"] = json!({"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}], "args": ["x"]}], "nodeSelector": {}}}});
    });
    let entry = &run.get("/metadata/managedFields").expect("list")[0];
    assert_eq!(
        entry,
        &json!({
        "manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1", "time": "1970-01-01T00:00:01Z", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {".": {}, "f:replicas": {}, "f:template": {".": {}, "f:spec": {".": {}, "f:nodeSelector": {}, "f:containers": {".": {},
                "k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}, "f:args": {}, "f:ports": {".": {},
                    "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}},
        }})
    );
}

#[test]
fn updates_take_what_they_change() {
    let mut run = Run::deployment();
    run.apply("one", 1, json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "paused": true}}));
    run.update("two", "", 2, |o| o["spec"]["replicas"] = json!(2));
    assert_eq!(run.owners(), ["one Apply - 01 .spec.paused", "two Update - 02 .spec.replicas"]);
    run.update("three", "status", 3, |o| o["status"] = json!({"replicas": 2}));
    run.update("two", "", 4, |o| drop(o["spec"].as_object_mut().map(|s| s.remove("paused"))));
    assert_eq!(run.owners(), ["two Update - 02 .spec.replicas", "three Update status 03 .status .status.replicas"]);
    // A write that changes nothing leaves all times alone.
    let before = run.object.clone();
    run.update("two", "", 9, |_| {});
    assert_eq!(run.object, before);
}

#[test]
fn a_list_that_a_client_sends_counts_and_an_empty_entry_resets() {
    let mut run = Run::deployment();
    run.update("one", "", 1, |o| {
        *o = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 1}})
    });
    run.update("two", "status", 2, |o| o["metadata"]["managedFields"] = json!([{}]));
    assert_eq!(run.owners(), ["one Update - 01 .spec .spec.replicas"]);
    run.update("two", "", 2, |o| drop(o["metadata"].as_object_mut().map(|m| m.remove("managedFields"))));
    assert_eq!(run.owners().len(), 1);
    run.update("two", "", 3, |o| o["metadata"]["managedFields"] = json!([{}]));
    assert_eq!(run.get("/metadata/managedFields"), None);
    run.update("two", "", 4, |o| o["spec"]["replicas"] = json!(5));
    assert_eq!(run.get("/metadata/managedFields"), None);
    assert_eq!(run.apply("kubectl", 5, json!({"metadata": {"name": "d"}, "spec": {"paused": true}})), Outcome::Changed);
    assert_eq!(run.owners(), ["kubectl Apply - 05 .spec.paused", "before-first-apply Update - 05 .spec .spec.replicas"]);
}

#[test]
fn conflicts_name_the_owner_and_the_field() {
    let mut run = Run::deployment();
    run.update("kubectl", "", 1, |o| {
        o["spec"] = json!({"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}})
    });
    let e = run.try_apply("me", Force::No, 2, json!({"spec": {"replicas": 2}})).expect_err("conflict");
    assert_eq!(
        (e.code, e.reason, e.message.as_str()),
        (409, Reason::Conflict, "Apply failed with 1 conflict: conflict with \"kubectl\" using apps/v1: .spec.replicas")
    );
    let causes = e.details.expect("details").causes;
    assert_eq!(
        (causes[0].reason.as_str(), causes[0].message.as_str(), causes[0].field.as_str()),
        ("FieldManagerConflict", "conflict with \"kubectl\" using apps/v1", ".spec.replicas")
    );
    let two = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}});
    let e = run.try_apply("me", Force::No, 2, two.clone()).expect_err("conflicts");
    assert_eq!(
        e.message,
        "Apply failed with 2 conflicts: conflicts with \"kubectl\" using apps/v1:\n- .spec.replicas\n- .spec.template.spec.containers[name=\"c\"].image"
    );
    assert_eq!(run.try_apply("me", Force::Yes, 3, two), Ok(Outcome::Changed));
    assert_eq!(run.get("/spec/template/spec/containers/0/image"), Some(&json!("j")));
    // Once forced it is owned: no conflict for us, one for the other.
    run.apply("me", 4, json!({"spec": {"replicas": 3}}));
    let e = run.try_apply("other", Force::No, 5, json!({"spec": {"replicas": 7}})).expect_err("conflict");
    assert_eq!(e.message, "Apply failed with 1 conflict: conflict with \"me\": .spec.replicas");
    // The same value is no conflict but shared.
    assert_eq!(run.apply("other", 6, json!({"spec": {"replicas": 3}})), Outcome::Same);
}

#[test]
fn what_is_no_longer_applied_goes() {
    let mut run = Run::deployment();
    run.apply("a", 1, json!({"metadata": {"name": "d", "labels": {"x": "1", "y": "2"}, "finalizers": ["f/1", "f/2"]},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "image": "i", "env": [{"name": "E", "value": "1"}]}, {"name": "d"}]}}}}));
    run.apply("b", 2, json!({"metadata": {"labels": {"y": "2"}}}));
    run.update("defaults", "", 3, |o| {
        o["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        o["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] = json!("Always");
    });
    run.apply("a", 4, json!({"metadata": {"name": "d", "finalizers": ["f/2"]}, "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}));
    assert_eq!(run.get("/metadata/labels"), Some(&json!({"y": "2"})));
    assert_eq!(run.get("/metadata/finalizers"), Some(&json!(["f/2"])));
    // Replicas had no other owner.
    assert_eq!(run.get("/spec/replicas"), None);
    assert_eq!(run.get("/spec/template/spec/containers"), Some(&json!([{"name": "c", "image": "i", "imagePullPolicy": "Always"}])));
    assert_eq!(run.get("/spec/template/spec/containers/0/env"), None);
    run.apply("a", 5, json!({"metadata": {"name": "d"}}));
    assert_eq!(run.get("/metadata/finalizers"), None);
}

#[test]
fn lists_keep_the_order_of_the_configuration() {
    let containers = |names: &[&str]| json!({"spec": {"template": {"spec": {"containers": names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()}}}});
    for (live, config, want) in [
        (&["a", "b"][..], &["b", "c"][..], &["a", "b", "c"][..]),
        (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        (&["a", "b", "c", "d"], &["b", "x"], &["a", "b", "c", "d", "x"]),
        (&["1", "2", "3", "4"], &["4", "3", "2", "1"], &["4", "3", "2", "1"]),
    ] {
        let mut run = Run::deployment();
        run.apply("live", 1, containers(live));
        run.apply("config", 2, containers(config));
        assert_eq!(
            run.get("/spec/template/spec/containers"),
            containers(want).pointer("/spec/template/spec/containers"),
            "{live:?} {config:?}"
        );
    }
}

#[test]
fn configurations_must_fit_the_schema() {
    let mut run = Run::deployment();
    for (config, code, want) in [
        (
            json!({"spec": {"foo": 1}}),
            500,
            "failed to create typed patch object (/; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema",
        ),
        (
            json!({"metadata": {"name": "d", "namespace": "n"}, "spec": {"replicas": "x"}}),
            500,
            "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): .spec.replicas: expected numeric (int or float), got string",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}, "y"]}}}}),
            500,
            "failed to create typed patch object (/; apps/v1, Kind=Deployment): .spec.template.spec.containers: element 1: associative list with keys may not have non-map elements",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"name": "x"}, {"name": "x"}], "hostname": 7}}}}),
            500,
            "failed to create typed patch object (/; apps/v1, Kind=Deployment): errors:\n  .spec.template.spec.containers: duplicate entries for key [name=\"x\"]\n  .spec.template.spec.hostname: expected string, got &value.valueUnstructured{Value:7}",
        ),
        (json!({"metadata": {"managedFields": []}}), 400, "metadata.managedFields must be nil"),
    ] {
        let e = run.try_apply("m", Force::No, 1, config).expect_err(want);
        assert_eq!((e.code, e.message.as_str()), (code, want));
    }
    let reset = ResetFields::None;
    let other = json!({"apiVersion": "v1", "kind": "Pod"});
    let e = apply(&run.target("", &reset), None, &other, "m", Force::No, at(1)).expect_err("kind");
    assert_eq!((e.code, e.message.as_str()), (400, "invalid object type: v1, Kind=Pod"));
}

#[test]
fn custom_resources_work_without_a_schema() {
    let mut run = Run::custom();
    run.apply("a", 1, json!({"metadata": {"name": "w"}, "spec": {"m": {"x": 1, "y": {}}, "list": [1, 2]}}));
    assert_eq!(run.owners(), ["a Apply - 01 .spec .spec.list .spec.m .spec.m.x .spec.m.y"]);
    run.update("b", "", 2, |o| o["spec"]["list"] = json!([2]));
    let e = run.try_apply("a", Force::No, 3, json!({"spec": {"list": [1, 2]}})).expect_err("conflict");
    assert_eq!(e.message, "Apply failed with 1 conflict: conflict with \"b\" using x.y/v1: .spec.list");
    // A map may become a list when nobody says what it is.
    run.try_apply("a", Force::Yes, 4, json!({"spec": {"list": [3], "m": [1]}})).expect("forced");
    assert_eq!(run.get("/spec"), Some(&json!({"list": [3], "m": [1]})));
}

#[test]
fn resets_and_subresources_bound_what_can_be_owned() {
    let run = Run::deployment();
    let live = run.with_kind(json!({"metadata": {"name": "d", "uid": "u", "managedFields": []}}));
    let reset = ResetFields::These(FieldSet::of_paths(&[&["status"]]));
    let mut new = run.with_kind(json!({"metadata": {"name": "d"}, "spec": {"replicas": 1}, "status": {"replicas": 3}}));
    update(&run.target("", &reset), None, &mut new, "m", at(1));
    assert_eq!(new["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:spec": {".": {}, "f:replicas": {}}}));
    let only: &[&[Step<'_>]] = &[&[Step::Field("spec"), Step::Any, Step::Field("spec")]];
    let reset = ResetFields::AllBut(only);
    let mut new =
        run.with_kind(json!({"spec": {"replicas": 1, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"hostname": "h"}}}}));
    update(&run.target("", &reset), None, &mut new, "m", at(1));
    assert_eq!(
        new["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:spec": {".": {}, "f:replicas": {}, "f:template": {".": {}, "f:spec": {".": {}, "f:hostname": {}}}}})
    );
    assert_eq!(check_managed_fields(&live), Ok(()));
}

#[test]
fn kubectl_takes_over_what_it_applied_on_the_client_side() {
    let last = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":1,"paused":true}}"#;
    let mut run = Run::deployment();
    run.update("kubectl-client-side-apply", "", 1, |o| {
        o["metadata"] = json!({"name": "d", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": last}});
        o["spec"] = json!({"replicas": 1, "paused": true, "minReadySeconds": 3});
    });
    run.update("scaler", "", 2, |o| o["spec"]["paused"] = json!(false));
    assert!(run.try_apply("other", Force::No, 3, json!({"spec": {"replicas": 2}})).is_err());
    let e = run.try_apply("kubectl", Force::No, 3, json!({"spec": {"replicas": 2, "paused": true}})).expect_err("changed by another");
    assert_eq!(e.message, "Apply failed with 1 conflict: conflict with \"scaler\" using apps/v1: .spec.paused");
    run.apply("kubectl", 4, json!({"metadata": {"name": "d"}, "spec": {"replicas": 2}}));
    let kept =
        run.get("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration").and_then(Value::as_str).expect("annotation");
    assert_eq!(kept, "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":2}}\n");
}

#[test]
fn owners_of_parts_of_what_became_atomic_own_the_whole() {
    let mut run = Run::deployment();
    run.apply("a", 1, json!({"spec": {"selector": {"matchLabels": {"x": "y"}}, "replicas": 1}}));
    run.object.as_mut().expect("object")["metadata"]["managedFields"][0]["fieldsV1"] =
        json!({"f:spec": {"f:replicas": {}, "f:selector": {"f:matchLabels": {"f:x": {}}}}});
    run.apply("b", 2, json!({"spec": {"minReadySeconds": 1}}));
    assert_eq!(run.owners(), ["a Apply - 01 .spec.replicas .spec.selector", "b Apply - 02 .spec.minReadySeconds"]);
}

#[test]
fn old_updaters_are_joined() {
    let mut run = Run::custom();
    for i in 0..14u64 {
        run.update(&format!("m{i:02}"), "", i + 1, |o| o["spec"][format!("f{i:02}")] = json!(i));
    }
    let owners = run.owners();
    assert_eq!(owners.len(), MAX_UPDATE_MANAGERS);
    assert_eq!(owners[0], "ancient-changes Update - 05 .spec .spec.f00 .spec.f01 .spec.f02 .spec.f03 .spec.f04");
}

#[test]
fn settling_puts_times_back() {
    let old = json!({"metadata": {"name": "d", "managedFields": [{"manager": "m", "time": "1"}]}, "spec": 1});
    let mut new = json!({"metadata": {"name": "d", "managedFields": [{"manager": "m", "time": "2"}]}, "spec": 1});
    settle(&mut new, &old);
    assert_eq!(new, old);
    let mut new = json!({"metadata": {"name": "d", "managedFields": [{"manager": "m", "time": "2"}]}, "spec": 2});
    let before = new.clone();
    settle(&mut new, &old);
    assert_eq!(new, before);
}

#[test]
fn owners_travel_through_scale() {
    const PATHS: &ReplicasPaths<'_> = &[("apps/v1", &["spec", "replicas"])];
    let parent = [
        json!({"manager": "a", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:selector": {}}}}),
    ];
    let shown = to_scale(&parent, PATHS).expect("valid");
    assert_eq!(
        shown,
        [
            json!({"manager": "a", "operation": "Apply", "apiVersion": "autoscaling/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}})
        ]
    );
    let scale = [
        json!({"manager": "s", "operation": "Update", "subresource": "scale", "apiVersion": "autoscaling/v1", "time": "1970-01-01T00:00:01Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}),
    ];
    let back = to_parent(&parent, &scale, "apps/v1", PATHS).expect("valid");
    assert_eq!(
        back,
        [
            json!({"manager": "a", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:selector": {}}}}),
            json!({"manager": "s", "operation": "Update", "subresource": "scale", "apiVersion": "apps/v1", "time": "1970-01-01T00:00:01Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}),
        ]
    );
    assert_eq!(to_parent(&parent, &shown, "apps/v1", PATHS).expect("valid"), parent);
}

#[test]
fn malformed_entries_are_refused() {
    for (entry, want) in [
        (json!({"operation": "x"}), "operation must be `Apply` or `Update`"),
        (json!({"operation": "Apply"}), "apiVersion must not be empty"),
        (json!({"operation": "Apply", "apiVersion": "v1"}), "missing fieldsType in managed fields entry 0"),
        (json!({"operation": "Apply", "apiVersion": "v1", "fieldsType": "V2"}), "invalid fieldsType \"V2\" in managed fields entry 0"),
        (
            json!({"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f": {}}}),
            "error decoding set: parsing key as path element: key must be 2 characters long:",
        ),
    ] {
        assert_eq!(check_managed_fields(&json!({"metadata": {"managedFields": [entry]}})), Err(want.to_owned()));
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![(0i64..3).prop_map(Value::from), "[ab]".prop_map(Value::from), Just(Value::Null), Just(json!([])), Just(json!({}))];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abc.]", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A configuration of a Deployment with maps, sets, keyed lists and atomic lists.
fn configuration() -> impl Strategy<Value = Value> {
    let labels = prop::collection::btree_map("[ab]", "[12]", 0..3);
    let env = prop::collection::btree_map("[AB]", "[12]", 0..3)
        .prop_map(|m| m.into_iter().map(|(k, v)| json!({"name": k, "value": v})).collect::<Vec<_>>());
    let containers = prop::collection::btree_map("[ab]", (env, prop::collection::vec("[xy]", 0..3), prop::option::of("[ij]")), 0..3)
        .prop_map(|m| {
            m.into_iter()
                .map(|(name, (env, args, image))| json!({"name": name, "env": env, "args": args, "image": image}))
                .collect::<Vec<_>>()
        });
    let finalizers = prop::collection::btree_set("[pq]/[r]", 0..3);
    (labels, containers, finalizers, prop::option::of(0i64..3)).prop_map(|(labels, containers, finalizers, replicas)| {
        json!({"metadata": {"name": "d", "labels": labels, "finalizers": finalizers},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}}})
    })
}

proptest! {
    #[test]
    fn applying_the_same_again_changes_nothing(live in configuration(), mine in configuration(), typed in any::<bool>()) {
        let mut run = if typed { Run::deployment() } else { Run::custom() };
        run.apply("first", 1, live);
        run.try_apply("me", Force::Yes, 2, mine.clone()).expect("forced");
        let before = run.object.clone();
        prop_assert_eq!(run.apply("me", 3, mine), Outcome::Same);
        prop_assert_eq!(&run.object, &before);
    }

    #[test]
    fn an_only_applier_gets_what_it_applies(one in configuration(), two in configuration()) {
        let mut run = Run::deployment();
        run.apply("me", 1, one);
        run.apply("me", 2, two.clone());
        let mut alone = Run::deployment();
        alone.apply("me", 2, two);
        // Empty maps and lists may stay behind where something was; they say nothing.
        fn bare(v: &Value) -> Option<Value> {
            match v {
                Value::Object(m) => Some(m.iter().filter_map(|(k, v)| Some((k.clone(), bare(v)?))).collect::<Map<_, _>>()).filter(|m| !m.is_empty()).map(Value::Object),
                Value::Array(l) => Some(l.iter().filter_map(bare).collect::<Vec<_>>()).filter(|l| !l.is_empty()).map(Value::from),
                Value::Null => None,
                other => Some(other.clone()),
            }
        }
        prop_assert_eq!(run.get("/spec").and_then(bare), alone.get("/spec").and_then(bare));
        prop_assert_eq!(run.get("/metadata/labels").and_then(bare), alone.get("/metadata/labels").and_then(bare));
    }

    #[test]
    fn sets_survive_their_encoding(value in tree()) {
        let object = json!({"x": value});
        let set = collect::fields_of(Spot::Deduced, &object).expect("no schema, no complaint");
        let encoded = encoding::encode(&set);
        prop_assert_eq!(encoding::decode(&encoded).expect("own encoding"), set);
    }

    #[test]
    fn set_algebra_holds(a in tree(), b in tree()) {
        let (a, b) = (json!({"x": a}), json!({"x": b}));
        let set = |v| collect::fields_of(Spot::Deduced, v).expect("no complaint");
        let (a, b) = (set(&a), set(&b));
        let both = a.intersection(&b);
        let mut only = a.clone();
        prop_assert_eq!(only.subtract(&b), !both.is_empty());
        prop_assert!(both.is_within(&a) && both.is_within(&b) && only.is_within(&a));
        prop_assert_eq!(only.len() + both.len(), a.len());
        prop_assert_eq!(only.union(both), a.clone());
        prop_assert_eq!(a.clone().union(b.clone()).len() + a.intersection(&b).len(), a.len() + b.len());
    }

    #[test]
    fn hostile_objects_never_panic(live in tree(), new in tree(), fields in tree(), typed in any::<bool>()) {
        let run = if typed { Run::deployment() } else { Run::custom() };
        let entry = json!({"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let live = run.with_kind(json!({"metadata": {"managedFields": [entry]}, "spec": {"template": {"spec": {"containers": live}}}, "status": live}));
        let config = run.with_kind(json!({"spec": {"template": {"spec": {"containers": new}}}, "status": new}));
        let mut updated = run.with_kind(json!({"metadata": new, "spec": {"template": {"spec": {"containers": new}}}, "status": new}));
        let reset = ResetFields::None;
        let _ = apply(&run.target("", &reset), Some(&live), &config, "m", Force::Yes, at(1));
        update(&run.target("", &reset), Some(&live), &mut updated, "m", at(1));
        settle(&mut updated, &live);
    }
}
