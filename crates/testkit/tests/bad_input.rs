//! What is wrong is refused with Kubernetes' codes, reasons and messages.

// A test fails by a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::Value;
use testkit::https::{Api, Identity};
use testkit::{Cluster, Options};

const CASES: &str = include_str!("fixtures/bad_input.txt");
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
    body: Vec<u8>,
    code: u16,
    reason: &'static str,
    /// How the message begins.
    message: &'static str,
}

/// The blocks of the fixture, four lines each.
fn cases() -> Vec<Case> {
    let blocks = CASES.split("\n\n").skip(1);
    let read = |block: &'static str| {
        let lines: Vec<&str> = block.trim_end().lines().collect();
        let [what, request, body, answer] = lines[..] else { panic!("not four lines: {block}") };
        let [method, path, content_type] = request.split(' ').collect::<Vec<_>>()[..] else { panic!("{request}") };
        let mut answer = answer.splitn(3, ' ');
        let code = answer.next().and_then(|c| c.parse().ok()).unwrap_or_else(|| panic!("{block}"));
        let (reason, message) = (answer.next().unwrap_or_default(), answer.next().unwrap_or_default());
        let mut body = if body == "-" { String::new() } else { body.replace("<3 MiB>", &"x".repeat(BODY_MAX_BYTES)) };
        for (written, meant) in [("\\n", "\n"), ("\\0", "\0"), ("\\1", "\u{1}"), ("\\2", "\u{2}"), ("\\3", "\u{3}")] {
            body = body.replace(written, meant);
        }
        Case { what, method, path, content_type, body: body.into_bytes(), code, reason, message }
    };
    blocks.map(read).collect()
}

fn check(api: &mut Api, case: &Case) {
    let answer = api.ask(case.method, case.path, &[("content-type", case.content_type), ("accept", "application/json")], &case.body);
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
    for case in &cases() {
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
