use serde_json::json;

use super::*;
use crate::pods::tests::at;

/// `replicas=10 surge=3 unavailable=2 image=new paused recreate history=2`
fn deployment(text: &str) -> Deployment {
    let mut d: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "d", "generation": 2, "resourceVersion": "5"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "progressDeadlineSeconds": 600,
                 "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
                 "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "new"}]}}}
    }))
    .unwrap();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let spec = d.spec.as_mut().unwrap();
        let limits = spec.strategy.as_mut().unwrap();
        let number = || k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(value.parse().unwrap());
        match key {
            "replicas" => spec.replicas = Some(value.parse().unwrap()),
            "surge" => limits.rolling_update.as_mut().unwrap().max_surge = Some(number()),
            "unavailable" => limits.rolling_update.as_mut().unwrap().max_unavailable = Some(number()),
            "history" => spec.revision_history_limit = Some(value.parse().unwrap()),
            "paused" => spec.paused = Some(true),
            "recreate" => *limits = serde_json::from_value(json!({"type": "Recreate"})).unwrap(),
            other => panic!("unknown word {other}"),
        }
    }
    d
}

/// `name image=old size=8 available=8 actual=8 revision=1 desired=10 max=13 created=5`
fn set(text: &str) -> ReplicaSet {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap();
    let get = |key: &str| text.split_whitespace().find_map(|w| w.strip_prefix(&format!("{key}=")).map(str::to_owned));
    let number = |key: &str, or: i32| get(key).map_or(or, |v| v.parse().unwrap());
    let size = number("size", 0);
    let mut s: ReplicaSet = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "generation": 1,
                     "creationTimestamp": at(number("created", 0).into()).to_string(),
                     "labels": {"app": "web", "pod-template-hash": name}, "annotations": {}},
        "spec": {"replicas": size, "selector": {"matchLabels": {"app": "web", "pod-template-hash": name}},
                 "template": {"metadata": {"labels": {"app": "web", "pod-template-hash": name}},
                              "spec": {"containers": [{"name": "c", "image": get("image").unwrap_or("old".into())}]}}},
        "status": {"replicas": number("actual", size), "readyReplicas": number("available", size),
                   "availableReplicas": number("available", size), "observedGeneration": 1}
    }))
    .unwrap();
    let annotations = s.metadata.annotations.as_mut().unwrap();
    for (word, key) in [("revision", "revision"), ("desired", "desired-replicas"), ("max", "max-replicas")] {
        if let Some(value) = get(word) {
            annotations.insert(format!("deployment.kubernetes.io/{key}"), value);
        }
    }
    s
}

/// The plan in one line: `create 3`, `web-old 8->7`, `delete x`, `revision 2`.
fn told(d: &str, texts: &[&str]) -> String {
    let d = deployment(d);
    let seen = Observed { deployment: &d, sets: texts.iter().map(|t| set(t)).collect(), pods: BTreeMap::new() };
    let words = plan(seen, at(1000)).actions.into_iter().filter_map(|action| match action {
        Action::Create(set) => Some(format!("create {}", sets::size(&set))),
        Action::Update { set, from } if sets::size(&set) == from => Some(format!("{} noted", set.metadata.name.unwrap())),
        Action::Update { set, from } => Some(format!("{} {from}->{}", set.metadata.name.as_ref().unwrap(), sets::size(&set))),
        Action::Delete(set) => Some(format!("delete {}", set.metadata.name.unwrap())),
        Action::SetRevision(r) => Some(format!("revision {r}")),
        Action::UpdateStatus(_) => None,
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn steps_of_rollouts() {
    let table: &[(&str, &[&str], &str)] = &[
        ("replicas=3", &[], "create 3, revision 1"),
        ("replicas=4", &["old size=4 revision=1 desired=4 max=5"], "create 1, old 4->3, revision 2"),
        ("replicas=10 surge=3 unavailable=2", &["old size=10 revision=1 desired=10 max=13"], "create 3, old 10->8, revision 2"),
        (
            "replicas=10 surge=3 unavailable=2",
            &["old size=8 revision=1 desired=10 max=13", "new image=new size=3 available=0 revision=2 desired=10 max=13"],
            "new 3->5, revision 2",
        ),
        // Unavailable pods of old sets go first, whatever availability allows.
        (
            "replicas=10 surge=0 unavailable=2",
            &["old size=10 available=8 revision=1 desired=10 max=10", "new image=new size=0 revision=2 desired=10 max=10"],
            "old 10->8, revision 2",
        ),
        // Scaling in the middle of a rollout is proportional (the conformance example).
        (
            "replicas=30 surge=3 unavailable=2",
            &["old size=8 revision=1 desired=10 max=13", "new image=new size=5 available=0 revision=2 desired=10 max=13 created=5"],
            "old 8->20, new 5->13, revision 2",
        ),
        ("replicas=5", &["new image=new size=3 revision=1 desired=3 max=4"], "new 3->5, revision 1"),
        ("replicas=3 paused", &["old size=3 revision=1 desired=3 max=4"], ""),
        ("replicas=1 paused", &["old size=3 revision=1 desired=3 max=4"], "old 3->1"),
        // Back to an older template: its set takes the next revision.
        ("replicas=3", &["new image=new size=0 revision=1", "old size=3 revision=2 desired=3 max=4 created=5"], "new 0->1, revision 3"),
        ("replicas=3 recreate", &["old size=3 revision=1 desired=3 max=3"], "old 3->0"),
        ("replicas=3 recreate", &["old size=0 actual=1 revision=1 desired=3 max=3"], ""),
        ("replicas=3 recreate", &["old size=0 revision=1 desired=3 max=3"], "create 3, revision 2"),
    ];
    for (d, sets, expected) in table {
        assert_eq!(told(d, sets), *expected, "{d} with {sets:?}");
    }
}

#[test]
fn old_revisions_beyond_the_limit_go_once_the_rollout_is_complete() {
    let mut d = deployment("replicas=2 history=1");
    d.metadata.annotations = Some(BTreeMap::from([(REVISION.to_owned(), "4".to_owned())]));
    let texts =
        ["a revision=1", "b image=b revision=3", "c image=c revision=2 actual=1", "new image=new size=2 revision=4 desired=2 max=3"];
    let sets: Vec<_> = texts.iter().map(|t| set(t)).collect();
    d.status = serde_json::from_value(json!({
        "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2
    }))
    .unwrap();
    let planned = plan(Observed { deployment: &d, sets, pods: BTreeMap::new() }, at(1000));
    let gone = planned.actions.iter().filter_map(|a| match a {
        Action::Delete(set) => set.metadata.name.clone(),
        _ => None,
    });
    assert_eq!(gone.collect::<Vec<_>>(), ["a"], "c still has a pod, b is within the limit");
}

/// Plays a whole rollout with pods that become available at once, and checks the promises at every step.
#[test]
fn a_rollout_always_ends_and_never_breaks_its_limits() {
    for (replicas, surge, unavailable) in [(1, 1, 0), (3, 1, 0), (10, 3, 2), (10, 0, 1), (5, 5, 5), (7, 2, 0), (4, 0, 4)] {
        let mut d = deployment(&format!("replicas={replicas} surge={surge} unavailable={unavailable}"));
        let mut all = vec![set(&format!("old size={replicas} revision=1 desired={replicas} max={}", replicas + surge))];
        let mut steps = 0;
        loop {
            let planned = plan(Observed { deployment: &d, sets: all.clone(), pods: BTreeMap::new() }, at(steps));
            if planned.actions.is_empty() {
                break;
            }
            for action in planned.actions {
                match action {
                    Action::Create(mut new) => {
                        new.metadata.uid = Some("uid-new".into());
                        all.push(*new);
                    }
                    Action::Update { set, .. } => {
                        let at = all.iter().position(|s| s.metadata.name == set.metadata.name).unwrap();
                        all[at] = *set;
                    }
                    Action::Delete(gone) => all.retain(|s| s.metadata.name != gone.metadata.name),
                    Action::SetRevision(r) => _ = d.metadata.annotations.get_or_insert_default().insert(REVISION.into(), r),
                    Action::UpdateStatus(status) => d.status = Some(*status),
                }
            }
            let total: i32 = all.iter().map(sets::size).sum();
            assert!(total <= replicas + surge, "{total} of {replicas}+{surge}");
            // What remains available while new pods are not: old pods, and those new ones that had time.
            let lasting: i32 = all.iter().map(|s| sets::size(s).min(sets::available(s))).sum();
            assert!(lasting >= replicas - unavailable, "{lasting} available of {replicas}-{unavailable}");
            for set in &mut all {
                let size = sets::size(set);
                set.status = serde_json::from_value(json!({
                    "replicas": size, "readyReplicas": size, "availableReplicas": size, "observedGeneration": 1
                }))
                .unwrap();
            }
            steps += 1;
            assert!(steps < 200, "no end");
        }
        let conditions = d.status.unwrap().conditions.unwrap();
        let progressing = conditions::get(&conditions, PROGRESSING).unwrap();
        assert_eq!(progressing.reason.as_deref(), Some("NewReplicaSetAvailable"));
        assert!(progressing.message.as_deref().unwrap().ends_with("has successfully progressed."));
        assert_eq!(all.iter().map(sets::size).collect::<Vec<_>>(), [0, replicas]);
    }
}

#[test]
fn a_rollout_without_progress_times_out_and_says_so() {
    let mut d = deployment("replicas=3");
    let sets = || vec![set("new image=new size=3 available=0 actual=3 revision=1 desired=3 max=4")];
    let first = plan(Observed { deployment: &d, sets: sets(), pods: BTreeMap::new() }, at(1000));
    assert_eq!(first.recheck.map(|w| w.as_secs()), Some(601));
    let status = first.actions.into_iter().find_map(|a| if let Action::UpdateStatus(s) = a { Some(*s) } else { None });
    d.status = status;
    let later = plan(Observed { deployment: &d, sets: sets(), pods: BTreeMap::new() }, at(1601));
    let Some(Action::UpdateStatus(status)) = later.actions.last() else { panic!("{later:?}") };
    let list = status.conditions.as_deref().unwrap();
    let condition = conditions::get(list, PROGRESSING).unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("False", Some("ProgressDeadlineExceeded")));
    assert_eq!(condition.message.as_deref(), Some("ReplicaSet \"new\" has timed out progressing."));
}
