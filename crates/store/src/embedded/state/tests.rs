use super::*;
use proptest::prelude::*;

const KEEP: Limits = Limits { window: Duration::from_secs(1 << 40), bytes: usize::MAX };

/// What a step of a random run does.
#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    RaiseFloor(u64),
    Evict(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..6).prop_map(Step::Put),
        2 => (0u8..6).prop_map(Step::Delete),
        1 => (0u64..60).prop_map(Step::RaiseFloor),
        1 => (0usize..8).prop_map(Step::Evict),
    ];
    proptest::collection::vec(step, 0..60)
}

fn key(n: u8) -> Arc<str> {
    format!("/{}/{n}", n % 2).into()
}

/// Applies a step and returns the change, if it made one.
fn take(state: &mut State, step: &Step) -> Option<(Arc<str>, Version)> {
    let modified = state.revision() + 1;
    let (key, value) = match step {
        Step::Put(n) => (key(*n), Some(Bytes::from(format!("{modified}")))),
        Step::Delete(n) => (key(*n), None),
        Step::RaiseFloor(floor) => {
            state.raise_floor(*floor);
            return None;
        }
        Step::Evict(budget) => {
            state.evict(KEEP, 0, *budget);
            return None;
        }
    };
    let current = state.get(&key);
    if value.is_none() && current.is_none() {
        return None;
    }
    let created = current.map_or(modified, |c| c.created.0);
    let version = Version { created, modified, value, deadline: None };
    state.apply(key.clone(), version.clone(), modified);
    Some((key, version))
}

/// What the whole range looks like at a revision, from the full list of changes.
fn model(changes: &[(Arc<str>, Version)], at: u64) -> Vec<Entry> {
    let mut map = BTreeMap::new();
    for (key, version) in changes.iter().take(at as usize) {
        match version.entry(key) {
            Some(entry) => map.insert(key.clone(), entry),
            None => map.remove(key),
        };
    }
    map.into_values().collect()
}

fn all(at: u64) -> Range {
    Range { prefix: "".into(), after: None, limit: 0, at: Some(Revision(at)) }
}

fn assert_matches(state: &State, changes: &[(Arc<str>, Version)]) -> Result<(), TestCaseError> {
    prop_assert_eq!(state.revision(), changes.len() as u64);
    for at in 0..=state.revision() {
        let got = state.range(&all(at));
        if at < state.floor() {
            let refused = matches!(got, Err(Error::Compacted { .. }));
            prop_assert!(refused);
        } else {
            prop_assert_eq!(got.unwrap().entries, model(changes, at));
        }
    }
    let events: Vec<_> = state.changes(state.floor(), usize::MAX).cloned().collect();
    let expected: Vec<_> = (state.floor() as usize..changes.len())
        .map(|i| {
            let (key, version) = &changes[i];
            event(key, version, model(changes, i as u64).into_iter().find(|e| e.key == *key))
        })
        .collect();
    prop_assert_eq!(events, expected);
    let live = model(changes, state.revision());
    prop_assert_eq!(state.stats().keys, live.len());
    prop_assert_eq!(state.stats().live_bytes, live.iter().map(|e| e.key.len() + e.value.len()).sum::<usize>());
    Ok(())
}

proptest! {
    /// Whatever is forgotten and when, what is kept reads like the full history.
    #[test]
    fn every_kept_revision_reads_as_it_was(steps in steps()) {
        let mut state = State::default();
        let mut changes = Vec::new();
        for step in &steps {
            changes.extend(take(&mut state, step));
            assert_matches(&state, &changes)?;
        }
        state.raise_floor(u64::MAX);
        state.evict(KEEP, 0, usize::MAX);
        prop_assert_eq!(state.history_bytes, 0);
        prop_assert_eq!(state.index.len(), state.keys, "no tombstone stays behind");
        prop_assert!(state.index.values().all(|chain| chain.older.is_empty()));
    }

    /// A checkpoint copied in steps while changes and forgetting go on, plus the changes after its revision, is the
    /// same state.
    #[test]
    fn a_checkpoint_taken_while_writes_go_on_restores_the_state(before in steps(), during in steps(), stride in 1usize..4) {
        let mut state = State::default();
        let mut changes = Vec::new();
        for step in &before {
            changes.extend(take(&mut state, step));
        }
        let revision = state.revision();
        let mut loader = Loader::default();
        let mut after: Option<Arc<str>> = None;
        let mut during = during.iter();
        loop {
            let part = state.versions(after.as_deref(), revision, stride);
            let Some((last, _)) = part.last() else { break };
            after = Some(last.clone());
            for (key, versions) in part {
                for version in versions {
                    loader.version(key.clone(), version).unwrap();
                }
            }
            for step in during.by_ref().take(5) {
                changes.extend(take(&mut state, step));
            }
        }
        let floor = state.floor();
        let mut restored = loader.finish(revision, floor, 0).unwrap();
        for (key, version) in &changes[revision as usize..] {
            restored.apply(key.clone(), version.clone(), 0);
        }
        restored.raise_floor(floor);
        restored.evict(KEEP, 0, usize::MAX);
        assert_matches(&restored, &changes)?;
    }
}

#[test]
fn age_and_bytes_each_bound_the_history() {
    let mut state = State::default();
    for modified in 1..=100 {
        let version = Version { created: 1, modified, value: Some(Bytes::from(vec![0; 1000])), deadline: None };
        state.apply("/k".into(), version, modified * 10);
    }
    let aged = Limits { window: Duration::from_millis(500), bytes: usize::MAX };
    assert_eq!(state.evict(aged, 1000, usize::MAX), 49);
    assert_eq!((state.floor(), state.stats().history_events), (49, 51));
    let small = Limits { window: Duration::from_secs(1000), bytes: 10_000 };
    state.evict(small, 1000, usize::MAX);
    assert!(state.stats().history_bytes <= 10_000 && state.stats().history_events >= 7);
    assert_eq!(state.get("/k").unwrap().modified, Revision(100), "what lives is no history");
}

#[test]
fn a_page_goes_on_after_a_key_and_counts_the_rest() {
    let mut state = State::default();
    for (modified, key) in (1..).zip(["/a/1", "/a/2", "/a/3", "/b/1"]) {
        state.apply(key.into(), Version { created: modified, modified, value: Some(Bytes::new()), deadline: None }, 0);
    }
    let page = |after: Option<&str>, limit| Range { prefix: "/a/".into(), after: after.map(Arc::from), limit, at: None };
    let first = state.range(&page(None, 1)).unwrap();
    assert_eq!((first.entries[0].key.as_ref(), first.remaining), ("/a/1", 2));
    let rest = state.range(&page(Some("/a/1"), 0)).unwrap();
    assert_eq!(rest.entries.iter().map(|e| e.key.as_ref()).collect::<Vec<_>>(), ["/a/2", "/a/3"]);
    assert_eq!(state.range(&page(Some("/"), 0)).unwrap().entries.len(), 3, "a start before the prefix is the prefix");
}

#[test]
fn holes_and_disorder_in_a_checkpoint_are_told() {
    let version = |modified| Version { created: 1, modified, value: Some(Bytes::new()), deadline: None };
    let mut loader = Loader::default();
    loader.version("/a".into(), version(1)).unwrap();
    loader.version("/b".into(), version(3)).unwrap();
    assert!(loader.finish(3, 0, 0).unwrap_err().contains("holes"));
    let mut loader = Loader::default();
    loader.version("/a".into(), version(2)).unwrap();
    assert!(loader.version("/a".into(), version(2)).is_err());
}
