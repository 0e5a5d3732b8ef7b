//! What is wrong is refused with Kubernetes' codes, reasons and messages.

use serde_json::Value;
use testkit::https::{Api, Identity};
use testkit::{Cluster, Options};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// kube-apiserver takes no larger body.
const BODY_MAX_BYTES: usize = 3 << 20;

/// Only the control plane: nothing here needs a node.
fn control_plane() -> Cluster {
    Cluster::start_with(Options { flags: vec!["--disable-agent".to_owned()], node: false, ..Options::default() })
}

struct Case {
    what: &'static str,
    method: &'static str,
    path: &'static str,
    content_type: &'static str,
    body: String,
    code: u16,
    reason: &'static str,
    /// How the message begins.
    message: &'static str,
}

fn case(what: &'static str, request: (&'static str, &'static str), body: &str, answer: (u16, &'static str, &'static str)) -> Case {
    Case {
        what,
        method: request.0,
        path: request.1,
        content_type: "application/json",
        body: body.to_owned(),
        code: answer.0,
        reason: answer.1,
        message: answer.2,
    }
}

fn pod(rest: &str) -> String {
    format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p"}},{rest}}}"#)
}

fn bodies() -> Vec<Case> {
    let bad = |message| (400, "BadRequest", message);
    vec![
        case(
            "wrong type",
            ("POST", PODS),
            &pod(r#""spec":{"containers":"none"}"#),
            bad(
                r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container"#,
            ),
        ),
        case(
            "wrong number",
            ("POST", PODS),
            &pod(r#""spec":{"priority":"high","containers":[]}"#),
            bad(
                r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.priority of type int32"#,
            ),
        ),
        case(
            "unknown field",
            ("POST", "/api/v1/namespaces/default/pods?fieldValidation=Strict"),
            &pod(r#""spec":{"contaners":[],"containers":[{"name":"a","image":"b"}]}"#),
            bad(r#"Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.contaners""#),
        ),
        case(
            "field twice",
            ("POST", "/api/v1/namespaces/default/configmaps?fieldValidation=Strict"),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","name":"d"}}"#,
            bad(r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: duplicate field "metadata.name""#),
        ),
        case("broken JSON", ("POST", PODS), r#"{"apiVersion":"v1","kind":"#, bad("")),
        case("no JSON at all", ("POST", PODS), "hello", bad("")),
        Case {
            content_type: "application/yaml",
            ..case("broken YAML", ("POST", PODS), "apiVersion: v1\nkind: Pod\n  metadata: [", bad(""))
        },
        Case {
            content_type: "application/vnd.kubernetes.protobuf",
            ..case("broken protobuf", ("POST", PODS), "k8s\0\u{1}\u{2}\u{3}", bad(""))
        },
        Case {
            content_type: "text/csv",
            ..case(
                "unknown format",
                ("POST", PODS),
                "a,b",
                (
                    415,
                    "UnsupportedMediaType",
                    "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
                ),
            )
        },
        case(
            "oversize",
            ("POST", MAPS),
            &format!(r#"{{"data":{{"a":"{}"}}}}"#, "x".repeat(BODY_MAX_BYTES)),
            (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"),
        ),
        case("another kind", ("POST", PODS), r#"{"apiVersion":"v1","kind":"Gizmo","metadata":{"name":"g"}}"#, bad("")),
        case(
            "another namespace",
            ("POST", MAPS),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"kube-system"}}"#,
            bad("the namespace of the provided object does not match the namespace sent on the request"),
        ),
        case(
            "no containers",
            ("POST", PODS),
            &pod(r#""spec":{}"#),
            (422, "Invalid", r#"Pod "p" is invalid: spec.containers: Required value"#),
        ),
        case(
            "no image",
            ("POST", PODS),
            &pod(r#""spec":{"containers":[{"name":"a"}]}"#),
            (422, "Invalid", r#"Pod "p" is invalid: spec.containers[0].image: Required value"#),
        ),
        case(
            "bad name",
            ("POST", MAPS),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Bad_Name"}}"#,
            (
                422,
                "Invalid",
                r#"ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"#,
            ),
        ),
        case(
            "no name",
            ("POST", MAPS),
            r#"{"apiVersion":"v1","kind":"ConfigMap"}"#,
            (422, "Invalid", r#"ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required"#),
        ),
        case(
            "twice",
            ("POST", MAPS),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"there"}}"#,
            (409, "AlreadyExists", r#"configmaps "there" already exists"#),
        ),
        case(
            "outdated",
            ("PUT", "/api/v1/namespaces/default/configmaps/there"),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"there","resourceVersion":"1"}}"#,
            (
                409,
                "Conflict",
                r#"Operation cannot be fulfilled on configmaps "there": the object has been modified; please apply your changes to the latest version and try again"#,
            ),
        ),
        case(
            "other name",
            ("PUT", "/api/v1/namespaces/default/configmaps/there"),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"here"}}"#,
            bad(r#"the name of the object (here) does not match the name on the URL (there)"#),
        ),
        case(
            "no such namespace",
            ("POST", "/api/v1/namespaces/nowhere/configmaps"),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}}"#,
            (404, "NotFound", r#"namespaces "nowhere" not found"#),
        ),
        Case {
            content_type: "application/json-patch+json",
            ..case(
                "patch of nothing",
                ("PATCH", "/api/v1/namespaces/default/configmaps/there"),
                r#"[{"op":"remove","path":"/data/none"}]"#,
                (422, "Invalid", ""),
            )
        },
        Case {
            content_type: "application/json-patch+json",
            ..case("no patch", ("PATCH", "/api/v1/namespaces/default/configmaps/there"), r#"{"a":1}"#, bad(""))
        },
        case(
            "patch of no type",
            ("PATCH", "/api/v1/namespaces/default/configmaps/there"),
            "{}",
            (
                415,
                "UnsupportedMediaType",
                "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
            ),
        ),
    ]
}

fn questions() -> Vec<Case> {
    vec![
        case("no such object", ("GET", "/api/v1/namespaces/default/pods/nobody"), "", (404, "NotFound", r#"pods "nobody" not found"#)),
        case(
            "bad label selector",
            ("GET", "/api/v1/pods?labelSelector=a%20in%20b"),
            "",
            (400, "BadRequest", "unable to parse requirement: found 'b' expected: '('"),
        ),
        case(
            "bad field selector",
            ("GET", "/api/v1/pods?fieldSelector=spec.colour%3Dred"),
            "",
            (400, "BadRequest", "field label not supported: spec.colour"),
        ),
        case("bad continue token", ("GET", "/api/v1/pods?limit=1&continue=nonsense"), "", (400, "BadRequest", "continue key is not valid")),
        case(
            "method not allowed",
            ("PUT", PODS),
            "{}",
            (405, "MethodNotAllowed", "the server does not allow this method on the requested resource"),
        ),
    ]
}

fn check(api: &mut Api, case: &Case) {
    let answer =
        api.ask(case.method, case.path, &[("content-type", case.content_type), ("accept", "application/json")], case.body.as_bytes());
    let answer = answer.unwrap_or_else(|e| panic!("{}: {e}", case.what));
    let text = answer.text();
    assert_eq!(answer.status, case.code, "{}: {text}", case.what);
    let status: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}: {text}", case.what));
    assert_eq!(
        (&status["kind"], &status["apiVersion"], &status["status"]),
        (&"Status".into(), &"v1".into(), &"Failure".into()),
        "{}",
        case.what
    );
    assert_eq!((&status["code"], &status["reason"]), (&case.code.into(), &case.reason.into()), "{}: {text}", case.what);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.starts_with(case.message) && !message.is_empty(), "{}:\n got {message}\nwant {}", case.what, case.message);
}

#[test]
fn bodies_and_questions_are_refused_in_kubernetes_words() {
    let cluster = control_plane();
    cluster.kubectl_ok(&["create", "configmap", "there"]);
    let mut failures = Vec::new();
    for case in bodies().iter().chain(&questions()) {
        // Each on a connection of its own: a server may close one on which it was sent too much.
        let mut api = cluster.api(Identity::Administrator);
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut api, case)));
        failures.extend(checked.err().map(|_| case.what));
    }
    assert!(failures.is_empty(), "{failures:?}");
    // A path that leads nowhere is not the API's to answer, so it gets no Status.
    let nowhere = cluster.api(Identity::Administrator).ask("GET", "/api/v1/namespaces/default/gizmos", &[], b"").unwrap();
    assert_eq!((nowhere.status, nowhere.text().as_str()), (404, "404 page not found\n"));
    // And none of it did harm.
    assert_eq!(cluster.kubectl_ok(&["get", "--raw", "/readyz"]), "ok");
    assert_eq!(cluster.kubectl_ok(&["get", "pods", "-o", "name"]), "");
}

#[test]
fn strangers_are_kept_out() {
    let cluster = control_plane();
    let mut api = cluster.api(Identity::Nobody);
    for token in ["wrong", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "a.b.c", ""] {
        let header = format!("Bearer {token}");
        let answer = api.ask("GET", "/api/v1/pods", &[("authorization", &header)], b"").unwrap();
        let status: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if token.is_empty() {
            // An empty token is none.
            assert!(matches!(answer.status, 401 | 403), "{}", answer.text());
            continue;
        }
        assert_eq!(
            (answer.status, &status["reason"], &status["message"]),
            (401, &"Unauthorized".into(), &"Unauthorized".into()),
            "{token}: {}",
            answer.text()
        );
    }
    let answer = api.ask("GET", "/api/v1/pods", &[], b"").unwrap();
    let status: Value = serde_json::from_slice(&answer.body).unwrap();
    let message = r#"pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" at the cluster scope"#;
    assert_eq!((answer.status, &status["reason"], &status["message"]), (403, &"Forbidden".into(), &message.into()));
    assert_eq!(api.ask("GET", "/version", &[], b"").unwrap().status, 200, "the version is public");
}

#[test]
fn kubectl_shows_what_is_wrong() {
    let cluster = control_plane();
    let apply = |text: &str| cluster.kubectl_with(&["apply", "-f", "-"], text).failed();
    let gizmo = apply("apiVersion: example.com/v1\nkind: Gizmo\nmetadata: {name: g}\n");
    let expected = "resource mapping not found for name: \"g\" namespace: \"\" from \"STDIN\": no matches for kind \"Gizmo\" in version \"example.com/v1\"\nensure CRDs are installed first";
    assert!(gizmo.contains(expected), "{gizmo}");
    let unknown = apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndota: {}\n");
    assert!(
        unknown.contains("ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dota\""),
        "{unknown}"
    );
    let broken = apply("apiVersion: v1\n  kind: ConfigMap\n");
    assert!(broken.contains("error parsing STDIN: error converting YAML to JSON"), "{broken}");
    let warned =
        cluster.kubectl_with(&["apply", "--validate=warn", "-f", "-"], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndota: {}\n");
    assert!(warned.status.success() && warned.stderr.contains("Warning: unknown field \"dota\""), "{warned}");
}
