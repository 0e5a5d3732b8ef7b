use bytes::Bytes;
use serde_json::json;

use super::*;

fn key(name: &str) -> Arc<str> {
    format!("/registry/things/ns/{name}").into()
}

fn put(cache: &Cache, name: &str, revision: u64, label: &str) {
    let tree = json!({"apiVersion": "v1", "kind": "T", "metadata": {"name": name, "labels": {"l": label}}});
    let stored = Bytes::from(crate::object::encode(&tree));
    let object = Object::from_stored(key(name), &stored, Revision(revision)).unwrap();
    cache.apply(&key(name), Revision(revision), Some(object));
}

fn names(cache: &Cache, from: &str, limit: usize, at: Option<u64>) -> (Vec<String>, usize, u64) {
    let page = Page { prefix: "/registry/things/", from, limit, at: at.map(Revision) };
    let p = cache.picture(&page, Revision(0), |_| true).unwrap();
    (p.objects.iter().map(|o| format!("{}@{}", o.name(), o.revision().0)).collect(), p.remaining, p.revision.0)
}

fn filled() -> Cache {
    let cache = Cache::new(Revision(1));
    put(&cache, "a", 2, "x");
    put(&cache, "b", 3, "x");
    put(&cache, "c", 4, "x");
    put(&cache, "b", 5, "y");
    cache.apply(&key("a"), Revision(6), None);
    put(&cache, "d", 7, "x");
    cache
}

#[test]
fn a_past_revision_is_the_present_with_events_taken_back() {
    let cache = filled();
    let cases: &[(Option<u64>, &[&str])] = &[
        (None, &["b@5", "c@4", "d@7"]),
        (Some(6), &["b@5", "c@4"]),
        (Some(5), &["a@2", "b@5", "c@4"]),
        (Some(4), &["a@2", "b@3", "c@4"]),
        (Some(1), &[]),
    ];
    for (at, expected) in cases {
        assert_eq!(names(&cache, "", 0, *at).0, *expected, "at {at:?}");
    }
    assert_eq!(names(&cache, &key("b"), 1, Some(5)), (vec!["b@5".to_owned()], 1, 5));
}

#[test]
fn trimming_moves_the_floor_and_what_is_older_is_refused() {
    let cache = filled();
    cache.trim(Revision(5));
    let page = Page { prefix: "/registry/things/", from: "", limit: 0, at: Some(Revision(4)) };
    assert_eq!(cache.picture(&page, Revision(0), |_| true).unwrap_err(), TooOld { floor: Revision(5) });
    assert_eq!(cache.after(Revision(4)).unwrap_err(), TooOld { floor: Revision(5) });
    let revisions: Vec<u64> = cache.after(Revision(5)).unwrap().iter().map(|e| e.revision.0).collect();
    assert_eq!(revisions, [6, 7]);
}

#[test]
fn a_selector_sees_objects_come_and_go() {
    let cache = filled();
    let x = |o: &Object| o.facts(&[]).labels.get("l").is_some_and(|v| v == "x");
    let seen: Vec<String> = cache
        .after(Revision(1))
        .unwrap()
        .iter()
        .filter_map(|e| {
            e.seen_by(x).map(|(c, s)| {
                let o = s.object();
                format!("{} {}@{}", c.word(), o.name(), o.revision().0)
            })
        })
        .collect();
    assert_eq!(seen, ["ADDED a@2", "ADDED b@3", "ADDED c@4", "DELETED b@5", "DELETED a@6", "ADDED d@7"]);
}
