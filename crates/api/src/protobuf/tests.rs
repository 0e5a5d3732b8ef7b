use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::{Node, Shape};

fn gvk(group: &str, version: &str, kind: &str) -> Gvk {
    Gvk::new(group, version, kind)
}

#[test]
fn a_namespace_is_written_as_go_writes_it() {
    let ns = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}, "spec": {}, "status": {}});
    let bytes = encode(&ns, &gvk("", "v1", "Namespace")).expect("encodes");
    // Unknown{typeMeta{v1, Namespace}, raw{metadata{name, generateName, …}, spec{}, status{phase}}, "", ""}.
    let metadata = b"\x0a\x01a\x12\x00\x1a\x00\x22\x00\x2a\x00\x32\x00\x38\x00\x42\x00";
    let mut raw = vec![0x0a, u8::try_from(metadata.len()).expect("short")];
    raw.extend_from_slice(metadata);
    raw.extend_from_slice(b"\x12\x00\x1a\x02\x0a\x00");
    let mut want = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12".to_vec();
    want.push(u8::try_from(raw.len()).expect("short"));
    want.extend_from_slice(&raw);
    want.extend_from_slice(b"\x1a\x00\x22\x00");
    assert_eq!(bytes, want);
    assert_eq!(decode(&bytes), Ok((gvk("", "v1", "Namespace"), ns)));
}

#[test]
fn options_of_any_group_and_unknown_tags_are_read() {
    let options =
        json!({"apiVersion": "example.com/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Foreground"});
    let bytes = encode(&options, &gvk("example.com", "v1", "DeleteOptions")).expect("encodes");
    assert_eq!(decode(&bytes).map(|(_, o)| o), Ok(options));
    // A field 100 of three wire types before the name.
    let body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x18\xa0\x06\x01\xa1\x06\0\0\0\0\0\0\0\0\xa5\x06\0\0\0\0\x0a\x03\x0a\x01a";
    assert_eq!(decode(body).map(|(_, o)| o["metadata"]["name"].clone()), Ok(json!("a")));
    assert_eq!(decode(b"{}"), Err(ProtoError::Magic));
    assert_eq!(
        encode(&json!({}), &gvk("a.b", "v1", "Foo")).map_err(|e| e.to_string()),
        Err("no kind \"Foo\" is registered for version \"a.b/v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"".to_owned())
    );
}

#[test]
fn special_values_survive() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "creationTimestamp": "2024-05-06T07:08:09Z",
        "labels": {"b": "2", "a": "1"}, "managedFields": [{"fieldsV1": {"f:a": {}}}]},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m"}},
            "readinessProbe": {"httpGet": {"port": "http"}}, "livenessProbe": {"tcpSocket": {"port": -1}}}],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}], "terminationGracePeriodSeconds": 0}, "status": {}});
    let bytes = encode(&pod, &gvk("", "v1", "Pod")).expect("encodes");
    assert_eq!(decode(&bytes).map(|(_, o)| o), Ok(pod));
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {},
        "status": {"user": {"extra": {"k": ["a", "b"], "z": []}}}});
    let bytes = encode(&review, &gvk("authentication.k8s.io", "v1", "TokenReview")).expect("encodes");
    assert_eq!(decode(&bytes).map(|(_, o)| o), Ok(review));
}

#[test]
fn watch_frames_have_a_length() {
    let object = encode(&json!({"metadata": {"name": "a"}}), &gvk("", "v1", "Namespace")).expect("encodes");
    let frame = watch_frame("ADDED", &object);
    let length = u32::from_be_bytes(frame[..4].try_into().expect("four"));
    assert_eq!(usize::try_from(length).expect("small"), frame.len() - 4);
    assert!(frame[4..].starts_with(b"\x0a\x05ADDED\x12"));
}

/// A value of a shape, made from a seed, in the form that decoding yields.
fn made(shape: &Shape, seed: &mut u64, depth: usize) -> Value {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let n = i64::try_from(*seed >> 40).expect("24 bits");
    match shape {
        Shape::String => json!(format!("s{n}é")),
        Shape::Bool => json!(n % 2 == 0),
        Shape::Int32 => json!(n - 5_000_000),
        Shape::Int64 => json!((n - 5_000_000) << 30),
        Shape::Double => json!(0.5 + n as f64),
        Shape::Bytes => json!(BASE64.encode(n.to_be_bytes())),
        Shape::Time => json!(Moment { seconds: n * 100, nanos: 0 }.to_seconds_text()),
        Shape::MicroTime => json!(Moment { seconds: n * 100, nanos: 1000 }.to_micros_text()),
        Shape::Quantity => json!(format!("{n}m").parse::<Quantity>().expect("valid").to_string()),
        Shape::IntOrString => {
            if n % 2 == 0 {
                json!(n)
            } else {
                json!("x")
            }
        }
        Shape::RawExtension | Shape::FieldsV1 | Shape::Json => json!({"any": [n, null, 1.5]}),
        Shape::SchemaOrArray => json!([{"type": "string"}]),
        Shape::SchemaOrBool => json!(n % 2 == 0),
        Shape::SchemaOrStrings => json!(["a"]),
        Shape::List(node) => Value::Array((0..1 + n % 2).map(|_| made(&node.shape, seed, depth + 1)).collect()),
        Shape::Map(node) => json!({"k/1": made(&node.shape, seed, depth + 1), "a": made(&node.shape, seed, depth + 1)}),
        Shape::Object(link) => {
            let mut map = Map::new();
            for f in link.fields.iter().filter(|f| !f.proto_only && f.name != "kind" && f.name != "apiVersion") {
                if wants(&f.node, seed, depth) {
                    map.insert(f.name.to_string(), made(f.shape(), seed, depth + 1));
                }
            }
            let mut value = Value::Object(map);
            crate::codec::normalize(&mut value, link);
            value
        }
        Shape::Duration | Shape::Any => Value::Null,
    }
}

fn wants(node: &Node, seed: &mut u64, depth: usize) -> bool {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    let nests = matches!(node.shape, Shape::Object(_) | Shape::List(_) | Shape::Map(_));
    depth < 8 && (*seed >> 33) % if nests { 3 } else { 2 } == 0
}

use crate::codec::moment::Moment;
use crate::quantity::Quantity;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_kind_survives_the_round_trip(seed in any::<u64>()) {
        let mut seed = seed;
        for ty in builtin().types().iter().filter(|t| t.proto.is_some() && !t.gvks.is_empty() && t.field("kind").is_some()) {
            let link = builtin().link(&ty.name).expect("listed");
            let gvk = ty.gvks.first().expect("has kinds");
            let mut object = made(&Shape::Object(link), &mut seed, 0);
            object["apiVersion"] = json!(gvk.api_version());
            object["kind"] = json!(gvk.kind);
            let bytes = encode(&object, gvk).expect("encodes");
            let (got, back) = decode(&bytes).expect("decodes");
            prop_assert_eq!(&got, gvk);
            prop_assert_eq!(&back, &object);
            let json = serde_json::to_vec(&object).expect("json");
            let again = crate::codec::decode_json(&json, Some(ty), crate::codec::FieldValidation::Strict).expect("json decodes").object;
            prop_assert_eq!(&again, &object);
        }
    }

    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0usize..200) {
        let ty = builtin().types().iter().filter(|t| !t.gvks.is_empty() && t.proto.is_some()).nth(kind);
        if let Some(ty) = ty {
            let _ = read::message(ty, &bytes, 0);
        }
        let _ = decode(&bytes);
    }
}
