//! What needs a hand inside: fsyncs that fail, wait or are lost, and damaged files.

mod damage;

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;

use super::*;
use crate::{EventKind, Expect, Op};

pub(super) fn put(key: impl AsRef<str>, value: impl Into<Bytes>) -> Write {
    Write { key: key.as_ref().into(), expect: Expect::Anything, op: Op::Put { value: value.into(), ttl: None } }
}

#[tokio::test]
async fn a_failed_fsync_stops_the_store_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let failing = Arc::new(AtomicUsize::new(0));
    let switch = failing.clone();
    let sync: SyncFile = Arc::new(move |file| match switch.load(Ordering::SeqCst) {
        0 => file.sync_data(),
        _ => Err(std::io::Error::other("the disk is gone")),
    });
    let store = Embedded::open_with(dir.path(), Options::default(), sync).unwrap();
    store.write(put("/a", "1")).await.unwrap();
    let mut watch = store.watch("/", Revision(1)).await.unwrap();
    failing.store(1, Ordering::SeqCst);
    let refused = store.write(put("/a", "2")).await.unwrap_err();
    assert!(matches!(&refused, Error::Poisoned(why) if why.contains("the disk is gone")), "{refused}");
    failing.store(0, Ordering::SeqCst);
    for refused in [
        store.write(put("/a", "3")).await.unwrap_err(),
        store.get("/a").await.unwrap_err(),
        store.compact(Revision(1)).await.unwrap_err(),
        watch.next().await.unwrap().unwrap_err(),
    ] {
        assert!(matches!(&refused, Error::Poisoned(why) if why.contains("the disk is gone")), "{refused}");
    }
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn writes_that_wait_share_one_fsync() {
    let dir = tempfile::tempdir().unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let (entered, mut in_sync) = tokio::sync::mpsc::unbounded_channel();
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let count = syncs.clone();
    let sync: SyncFile = Arc::new(move |_| {
        // The first one makes the log; every later one waits for the test.
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            let _ = entered.send(());
            let _ = gate.lock().unwrap().recv();
        }
        Ok(())
    });
    let store = Embedded::open_with(dir.path(), Options::default(), sync).unwrap();
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.write(put("/first", "")).await }
    });
    in_sync.recv().await.unwrap();
    let waiting: Vec<_> = (0..300)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.write(put(format!("/{n}"), "")).await })
        })
        .collect();
    while store.shared.queue.waiting() < waiting.len() {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.revision().await.unwrap(), Revision(0), "nothing is visible before it is durable");
    release.send(()).unwrap();
    release.send(()).unwrap();
    first.await.unwrap().unwrap();
    for write in waiting {
        write.await.unwrap().unwrap();
    }
    assert_eq!(syncs.load(Ordering::SeqCst), 3);
    assert_eq!(store.revision().await.unwrap(), Revision(301));
    drop(release);
}

/// The disk forgets whatever was not synced: what was acknowledged before is still there.
#[tokio::test]
async fn a_power_cut_loses_no_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let synced = Arc::new(AtomicU64::new(0));
    let length = synced.clone();
    let sync: SyncFile = Arc::new(move |mut file| {
        length.store(std::io::Seek::stream_position(&mut file)?, Ordering::SeqCst);
        Ok(())
    });
    let log = directory::log_path(dir.path(), recover::FIRST_SEQ);
    for round in 0..20u64 {
        let store = Embedded::open_with(dir.path(), Options::default(), sync.clone()).unwrap();
        let before = store.revision().await.unwrap();
        assert_eq!(before, Revision(round * 8));
        join_all((0..8).map(|n| store.write(put(format!("/{n}"), round.to_string())))).await.into_iter().for_each(|w| drop(w.unwrap()));
        let whole = synced.load(Ordering::SeqCst);
        drop(store);
        // A part of a commit that was never acknowledged reached the disk.
        let mut data = std::fs::read(&log).unwrap();
        data.truncate(usize::try_from(whole).unwrap());
        let torn = data[data.len() - 40..].to_vec();
        data.extend(&torn[..usize::try_from(round).unwrap() * 2]);
        data.extend(vec![0; usize::try_from(round % 3).unwrap() * 5000]);
        std::fs::write(&log, data).unwrap();
    }
}

#[tokio::test]
async fn keys_with_a_time_to_live_are_deleted_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = stdx::Clock::manual(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
    let options = Options { clock: clock.clone(), tick: Duration::from_millis(2), ..Options::default() };
    let leased = |key: &str, seconds| Write {
        key: key.into(),
        expect: Expect::Anything,
        op: Op::Put { value: Bytes::from_static(b"x"), ttl: Some(Duration::from_secs(seconds)) },
    };
    let store = Embedded::open(dir.path(), options.clone()).unwrap();
    store.write(leased("/short", 10)).await.unwrap();
    store.write(leased("/long", 100)).await.unwrap();
    store.write(leased("/renewed", 10)).await.unwrap();
    store.write(leased("/renewed", 100)).await.unwrap();
    let mut watch = store.watch("/", Revision(4)).await.unwrap();
    clock.advance(Duration::from_secs(11));
    let batch = watch.next().await.unwrap().unwrap();
    let gone: Vec<_> = batch.events.iter().map(|e| (e.kind, e.entry.key.as_ref(), e.previous.is_some())).collect();
    assert_eq!(gone, [(EventKind::Delete, "/short", true)]);
    drop((watch, store));
    clock.advance(Duration::from_secs(100));
    let store = Embedded::open(dir.path(), options).unwrap();
    let mut watch = store.watch("/", Revision(5)).await.unwrap();
    let mut gone = Vec::new();
    while gone.len() < 2 {
        gone.extend(watch.next().await.unwrap().unwrap().events.into_iter().map(|e| e.entry.key.to_string()));
    }
    assert_eq!(gone, ["/long", "/renewed"]);
    assert_eq!(store.stats().unwrap().keys, 0);
}

/// More keys than a checkpoint copies in one step, each right behind the one before, and written long before the log
/// that is left.
#[tokio::test]
async fn checkpoints_hold_every_key() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { checkpoint_min_bytes: 20_000, segment_bytes: 10_000, history_max_bytes: 10_000, ..Options::default() };
    let store = Embedded::open(dir.path(), options.clone()).unwrap();
    join_all((1..600).map(|n| store.write(put("0".repeat(n), n.to_string())))).await.into_iter().for_each(|w| drop(w.unwrap()));
    for _ in 0..200 {
        join_all((0..30).map(|n| store.write(put("/churned", vec![n; 200])))).await.into_iter().for_each(|w| drop(w.unwrap()));
    }
    let all = Range { prefix: "".into(), after: None, limit: 0, at: None };
    let expected = store.range(all.clone()).await.unwrap();
    drop(store);
    assert!(!directory::log_path(dir.path(), recover::FIRST_SEQ).exists(), "the first segment is gone");
    let store = Embedded::open(dir.path(), options).unwrap();
    let found = store.range(all).await.unwrap();
    assert_eq!((found.entries, found.revision), (expected.entries, expected.revision));
    assert_eq!(store.stats().unwrap().keys, 600);
}

/// Forgetting while a checkpoint was written can leave a version out of it. Changes that would need it are not offered.
#[tokio::test]
async fn a_checkpoint_that_misses_versions_raises_the_floor() {
    let dir = tempfile::tempdir().unwrap();
    let sync = durable();
    let version = |modified| state::Version { created: 1, modified, value: Some(Bytes::from("x")), deadline: None };
    // Revision 1 of the key was forgotten when 2 had replaced it, before the checkpoint of revision 1 came to the key.
    let head = image::Head { seq: 1, revision: 1, at_ms: u64::MAX };
    let checkpoint = image::Writer::create(&directory::checkpoint_path(dir.path(), 1), head).unwrap();
    checkpoint.finish(image::Tail { floor: 2, durable: 3 }, &sync).unwrap();
    let mut log = log::Log::create(dir.path(), 1, 1000, sync).unwrap();
    let mut frame = Vec::new();
    log::put_commit(&mut frame, log.salt(), u64::MAX, &[("/k".into(), version(2)), ("/k".into(), version(3))]);
    log.append(&frame).unwrap();
    std::fs::write(dir.path().join("FORMAT"), "ferry-store 1\n").unwrap();
    let store = Embedded::open(dir.path(), Options::default()).unwrap();
    assert_eq!(store.oldest_revision().unwrap(), Revision(2));
    let batch = store.watch("/", Revision(2)).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(batch.events[0].previous.as_ref().map(|p| p.modified), Some(Revision(2)));
}

#[tokio::test]
async fn a_second_opener_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = Embedded::open(dir.path(), Options::default()).unwrap();
    let refused = Embedded::open(dir.path(), Options::default()).err().unwrap().to_string();
    assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
    drop(store);
    Embedded::open(dir.path(), Options::default()).unwrap();
}

#[tokio::test]
async fn another_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(Embedded::open(dir.path(), Options::default()).unwrap());
    for (text, expected) in [("ferry-store 2\n", "format 2"), ("something", "damaged")] {
        std::fs::write(dir.path().join("FORMAT"), text).unwrap();
        let refused = Embedded::open(dir.path(), Options::default()).err().unwrap().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

#[tokio::test]
async fn history_ages_out_by_itself_and_survives_a_quick_restart() {
    let dir = tempfile::tempdir().unwrap();
    let clock = stdx::Clock::manual(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(10_000));
    let options = Options { clock: clock.clone(), tick: Duration::from_millis(2), ..Options::default() };
    let store = Embedded::open(dir.path(), options.clone()).unwrap();
    store.write(put("/a", "1")).await.unwrap();
    clock.advance(Duration::from_secs(599));
    store.write(put("/a", "2")).await.unwrap();
    drop(store);
    let store = Embedded::open(dir.path(), options).unwrap();
    assert_eq!(store.oldest_revision().unwrap(), Revision(0), "ten minutes are kept over a restart");
    clock.advance(Duration::from_secs(2));
    store.write(put("/b", "1")).await.unwrap();
    while store.oldest_revision().unwrap() < Revision(1) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refused = store.watch("/", Revision(0)).await.err().unwrap();
    assert!(matches!(refused, Error::Compacted { asked: Revision(0), oldest: Revision(1) }), "{refused}");
}

#[tokio::test]
async fn a_snapshot_becomes_a_store_with_later_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, file) = (dir.path().join("from"), dir.path().join("to"), dir.path().join("snapshot"));
    let store = Embedded::open(&from, Options::default()).unwrap();
    for n in 0..500 {
        store.write(put(format!("/k/{n:03}"), vec![7; n])).await.unwrap();
    }
    store.write(Write { key: "/k/000".into(), expect: Expect::Anything, op: Op::Delete }).await.unwrap();
    let revision = store.save_snapshot(&file).await.unwrap();
    assert_eq!(revision, Revision(501));
    store.write(put("/later", "")).await.unwrap();
    let range = Range { prefix: "/".into(), after: None, limit: 0, at: Some(revision) };
    let expected = store.range(range.clone()).await.unwrap().entries;
    let restored_at = restore_snapshot(&file, &to).unwrap();
    assert_eq!(restored_at, Revision(501 + RESTORE_REVISION_BUMP));
    let again = restore_snapshot(&file, &to).unwrap_err().to_string();
    assert!(again.contains("there is a store already"), "{again}");
    let restored = Embedded::open(&to, Options::default()).unwrap();
    assert_eq!(restored.range(Range { at: None, ..range }).await.unwrap().entries, expected);
    assert!(matches!(restored.watch("/", Revision(501)).await.err().unwrap(), Error::Compacted { .. }));
    let Outcome::Committed { revision, .. } = restored.write(put("/new", "")).await.unwrap() else { panic!() };
    assert_eq!(revision, Revision(restored_at.0 + 1));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - 1);
    std::fs::write(&file, bytes).unwrap();
    assert!(matches!(restore_snapshot(&file, &dir.path().join("bad")), Err(Error::Corrupt { .. })));
}
