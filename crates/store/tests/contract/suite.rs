//! The contract's cases. Each takes a store that nobody else writes to; its revision may begin anywhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use store::{Entry, Error, Event, EventKind, Expect, Op, Outcome, Range, Revision, Store, WatchStream, Write};

fn put(key: &str, expect: Expect, value: &str) -> Write {
    Write { key: key.into(), expect, op: Op::Put { value: Bytes::from(value.to_owned()), ttl: None } }
}

fn delete(key: &str, expect: Expect) -> Write {
    Write { key: key.into(), expect, op: Op::Delete }
}

fn range(prefix: &str, at: Option<Revision>) -> Range {
    Range { prefix: prefix.into(), after: None, limit: 0, at }
}

async fn commit(store: &Arc<dyn Store>, write: Write) -> (Revision, Option<Entry>) {
    match store.write(write).await.unwrap() {
        Outcome::Committed { revision, previous } => (revision, previous),
        Outcome::Mismatch { current } => panic!("refused, as the key holds {current:?}"),
    }
}

async fn set(store: &Arc<dyn Store>, key: &str, value: &str) -> Revision {
    commit(store, put(key, Expect::Anything, value)).await.0
}

fn values(entries: &[Entry]) -> Vec<(String, String)> {
    entries.iter().map(|e| (e.key.to_string(), String::from_utf8(e.value.to_vec()).unwrap())).collect()
}

/// The events up to the first one that satisfies `last`, checking that revisions only grow.
async fn events_until(watch: &mut WatchStream, last: impl Fn(&Event) -> bool) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    while !events.last().is_some_and(&last) {
        let batch = watch.next().await.unwrap().unwrap();
        for event in batch.events {
            assert!(events.last().is_none_or(|before| before.entry.modified < event.entry.modified));
            assert!(event.entry.modified <= batch.revision);
            events.push(event);
        }
    }
    events
}

pub(crate) async fn a_write_happens_only_when_its_expectation_holds(store: Arc<dyn Store>) {
    let (created, previous) = commit(&store, put("/a", Expect::Absent, "1")).await;
    assert_eq!(previous, None);
    let first = store.get("/a").await.unwrap().unwrap();
    assert_eq!((first.key.as_ref(), first.value.as_ref(), first.created, first.modified), ("/a", b"1".as_ref(), created, created));
    for refused in [
        put("/a", Expect::Absent, "2"),
        put("/a", Expect::Modified(Revision(created.0 + 1)), "2"),
        delete("/a", Expect::Modified(Revision(0))),
    ] {
        assert_eq!(store.write(refused).await.unwrap(), Outcome::Mismatch { current: Some(first.clone()) });
    }
    for refused in [put("/none", Expect::Modified(created), "2"), delete("/none", Expect::Modified(created))] {
        assert_eq!(store.write(refused).await.unwrap(), Outcome::Mismatch { current: None });
    }
    assert_eq!(store.revision().await.unwrap(), created, "a refused write takes no revision");
    let (changed, previous) = commit(&store, put("/a", Expect::Modified(created), "3")).await;
    assert_eq!(previous, Some(first));
    let second = store.get("/a").await.unwrap().unwrap();
    assert_eq!((second.created, second.modified), (created, changed));
    let (_, previous) = commit(&store, delete("/a", Expect::Modified(changed))).await;
    assert_eq!(previous, Some(second));
    assert_eq!(store.get("/a").await.unwrap(), None);
    let (again, _) = commit(&store, put("/a", Expect::Absent, "4")).await;
    assert_eq!(store.get("/a").await.unwrap().unwrap().created, again, "a key created again is a new one");
}

pub(crate) async fn each_committed_write_takes_one_new_revision(store: Arc<dyn Store>) {
    let before = store.revision().await.unwrap();
    let writes = (0..200).map(|n| {
        let store = store.clone();
        async move { set(&store, &format!("/{n}"), "").await }
    });
    let mut revisions = join_all(writes).await;
    revisions.sort();
    let expected: Vec<_> = (before.0 + 1..=before.0 + 200).map(Revision).collect();
    assert_eq!(revisions, expected);
    assert_eq!(store.revision().await.unwrap(), Revision(before.0 + 200));
}

pub(crate) async fn removing_what_is_not_there_changes_nothing(store: Arc<dyn Store>) {
    let before = set(&store, "/other", "").await;
    for expect in [Expect::Anything, Expect::Absent] {
        assert_eq!(store.write(delete("/none", expect)).await.unwrap(), Outcome::Mismatch { current: None });
    }
    assert_eq!(store.revision().await.unwrap(), before);
}

pub(crate) async fn of_racing_writers_exactly_one_wins(store: Arc<dyn Store>) {
    let mut at = set(&store, "/k", "").await;
    for _ in 0..10 {
        let racers = (0..20).map(|n| {
            let store = store.clone();
            async move { store.write(put("/k", Expect::Modified(at), &n.to_string())).await.unwrap() }
        });
        let outcomes = join_all(racers).await;
        let won: Vec<_> =
            outcomes.iter().filter_map(|o| if let Outcome::Committed { revision, .. } = o { Some(*revision) } else { None }).collect();
        assert_eq!(won.len(), 1);
        at = won[0];
        for outcome in outcomes {
            if let Outcome::Mismatch { current } = outcome {
                assert_eq!(current.unwrap().modified, at, "the losers see the winner");
            }
        }
    }
}

pub(crate) async fn a_range_is_a_picture_of_one_revision(store: Arc<dyn Store>) {
    set(&store, "/p/a", "1").await;
    set(&store, "/p/b", "1").await;
    set(&store, "/q/a", "1").await;
    let then = store.revision().await.unwrap();
    set(&store, "/p/a", "2").await;
    commit(&store, delete("/p/b", Expect::Anything)).await;
    let now = set(&store, "/p/c", "2").await;
    let past = store.range(range("/p/", Some(then))).await.unwrap();
    assert_eq!(values(&past.entries), [("/p/a".into(), "1".into()), ("/p/b".into(), "1".into())]);
    assert_eq!((past.revision, past.remaining), (then, 0));
    let present = store.range(range("/p/", None)).await.unwrap();
    assert_eq!(values(&present.entries), [("/p/a".into(), "2".into()), ("/p/c".into(), "2".into())]);
    assert_eq!(present.revision, now);
    assert!(store.range(range("/none/", None)).await.unwrap().entries.is_empty());
    assert_eq!(store.range(range("", None)).await.unwrap().entries.len(), 3);
}

pub(crate) async fn pages_of_one_revision_fit_together_while_writes_go_on(store: Arc<dyn Store>) {
    for n in 0..25 {
        set(&store, &format!("/p/{n:02}"), "old").await;
    }
    set(&store, "/q", "").await;
    let mut entries = Vec::new();
    let mut page = Range { prefix: "/p/".into(), after: None, limit: 10, at: None };
    loop {
        let got = store.range(page.clone()).await.unwrap();
        entries.extend(got.entries);
        assert_eq!(got.remaining, 25 - entries.len());
        if got.remaining == 0 {
            break;
        }
        page.at = Some(got.revision);
        page.after = entries.last().map(|e| e.key.clone());
        for n in 0..25 {
            set(&store, &format!("/p/{n:02}"), "new").await;
            commit(&store, delete(&format!("/p/{n:02}"), Expect::Anything)).await;
        }
        set(&store, "/p/15x", "new").await;
    }
    let expected: Vec<_> = (0..25).map(|n| (format!("/p/{n:02}"), "old".to_string())).collect();
    assert_eq!(values(&entries), expected);
}

pub(crate) async fn a_watch_delivers_every_change_after_its_revision_in_order(store: Arc<dyn Store>) {
    let start = set(&store, "/w/a", "1").await;
    let second = set(&store, "/w/a", "2").await;
    let third = commit(&store, delete("/w/a", Expect::Anything)).await.0;
    let fourth = set(&store, "/w/a", "3").await;
    let mut watch = store.watch("/w/", start).await.unwrap();
    let events = events_until(&mut watch, |e| e.entry.modified == fourth).await;
    let seen: Vec<_> = events
        .iter()
        .map(|e| {
            (e.kind, e.entry.modified, e.entry.value.clone(), e.entry.created, e.previous.as_ref().map(|p| (p.value.clone(), p.modified)))
        })
        .collect();
    let (one, two, three) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"), Bytes::from_static(b"3"));
    assert_eq!(seen[0], (EventKind::Put, second, two.clone(), start, Some((one, start))));
    assert_eq!((seen[1].0, seen[1].1, seen[1].2.clone(), seen[1].4.clone()), (EventKind::Delete, third, Bytes::new(), Some((two, second))));
    assert_eq!(seen[2], (EventKind::Put, fourth, three, fourth, None));
    assert_eq!(seen.len(), 3);
}

pub(crate) async fn a_watch_sees_only_its_prefix_and_still_moves_on(store: Arc<dyn Store>) {
    let start = set(&store, "/w/a", "1").await;
    let mut watch = store.watch("/w/", start).await.unwrap();
    set(&store, "/other", "1").await;
    let end = set(&store, "/w", "not below the prefix").await;
    let mut reached = start;
    while reached < end {
        let batch = watch.next().await.unwrap().unwrap();
        assert!(batch.events.is_empty());
        assert!(batch.revision > reached);
        reached = batch.revision;
    }
}

pub(crate) async fn a_watch_goes_from_the_past_into_the_present_without_a_gap(store: Arc<dyn Store>) {
    let start = store.revision().await.unwrap();
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..1000 {
                set(&store, &format!("/w/{}", n % 10), &n.to_string()).await;
            }
        })
    };
    let mut watch = store.watch("/w/", start).await.unwrap();
    let events = events_until(&mut watch, |e| e.entry.value == "999").await;
    let seen: Vec<_> = values(&events.into_iter().map(|e| e.entry).collect::<Vec<_>>()).into_iter().map(|(_, v)| v).collect();
    let expected: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
    writer.await.unwrap();
}

pub(crate) async fn many_watchers_see_the_same_changes(store: Arc<dyn Store>) {
    let start = store.revision().await.unwrap();
    let watchers: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut watch = store.watch(&format!("/w/{}", n % 4), start).await.unwrap();
                events_until(&mut watch, |e| e.entry.value == "end").await.len()
            })
        })
        .collect();
    for n in 0..400 {
        set(&store, &format!("/w/{}", n % 4), &n.to_string()).await;
    }
    for n in 0..4 {
        set(&store, &format!("/w/{n}"), "end").await;
    }
    for watcher in watchers {
        assert_eq!(watcher.await.unwrap(), 101);
    }
}

pub(crate) async fn compacted_history_is_refused_and_live_values_stay(store: Arc<dyn Store>) {
    let first = set(&store, "/old", "1").await;
    set(&store, "/k", "1").await;
    let kept = set(&store, "/k", "2").await;
    commit(&store, delete("/old", Expect::Anything)).await;
    let mut slow = store.watch("/", first).await.unwrap();
    store.compact(kept).await.unwrap();
    assert!(matches!(store.range(range("/", Some(first))).await, Err(Error::Compacted { asked, .. }) if asked == first));
    // Some engines tell it at once, some in the stream.
    let told = match store.watch("/", first).await {
        Err(e) => e,
        Ok(mut watch) => watch.next().await.unwrap().unwrap_err(),
    };
    assert!(matches!(told, Error::Compacted { .. }), "{told}");
    let picture = store.range(range("/", Some(kept))).await.unwrap();
    assert_eq!(values(&picture.entries), [("/k".into(), "2".into()), ("/old".into(), "1".into())]);
    let mut watch = store.watch("/", kept).await.unwrap();
    assert_eq!(events_until(&mut watch, |e| e.kind == EventKind::Delete).await.len(), 1);
    assert_eq!(values(&store.range(range("/", None)).await.unwrap().entries), [("/k".into(), "2".into())]);
    // A watch that was open and behind is either complete or told.
    match slow.next().await.unwrap() {
        Ok(batch) => assert_eq!(batch.events.first().unwrap().entry.modified, Revision(first.0 + 1)),
        Err(e) => assert!(matches!(e, Error::WatchTooSlow { .. } | Error::Compacted { .. }), "{e}"),
    }
    let newest = store.revision().await.unwrap();
    store.compact(newest).await.unwrap();
    assert!(set(&store, "/old", "2").await > newest, "revisions go on");
}

pub(crate) async fn the_future_is_refused(store: Arc<dyn Store>) {
    let newest = set(&store, "/k", "1").await;
    let asked = Revision(newest.0 + 1000);
    assert!(matches!(store.range(range("/", Some(asked))).await, Err(Error::Future { asked: a, .. }) if a == asked));
    assert!(matches!(store.compact(asked).await, Err(Error::Future { .. })));
}

pub(crate) async fn a_key_with_a_time_to_live_goes_away(store: Arc<dyn Store>) {
    let op = Op::Put { value: Bytes::from_static(b"x"), ttl: Some(Duration::from_secs(1)) };
    let written = commit(&store, Write { key: "/leased".into(), expect: Expect::Absent, op }).await.0;
    let mut watch = store.watch("/", written).await.unwrap();
    let gone = events_until(&mut watch, |e| e.kind == EventKind::Delete).await;
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].entry.key.as_ref(), "/leased");
    assert_eq!(store.get("/leased").await.unwrap(), None);
}

pub(crate) async fn a_value_over_the_limit_is_refused(store: Arc<dyn Store>) {
    let before = set(&store, "/k", "1").await;
    let op = Op::Put { value: Bytes::from(vec![0; 9 << 20]), ttl: None };
    let refused = store.write(Write { key: "/k".into(), expect: Expect::Anything, op }).await.unwrap_err();
    assert!(matches!(&refused, Error::TooLarge { key, .. } if key == "/k"), "{refused}");
    assert_eq!(store.revision().await.unwrap(), before);
    let op = Op::Put { value: Bytes::from(vec![0; 1 << 20]), ttl: None };
    commit(&store, Write { key: "/k".into(), expect: Expect::Anything, op }).await;
}
