//! One object changed a million times: memory and disk stay within what the options say, while a reader and a slow
//! watcher are there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use store::{Embedded, Error, Expect, Op, Options, Outcome, Revision, Store, Write};

const WRITES: u64 = 1_000_000;
const WRITERS: u64 = 1000;
const HISTORY_BYTES: usize = 2 << 20;
const CHECKPOINT_BYTES: u64 = 4 << 20;
const VALUE_BYTES: usize = 100;

fn disk_bytes(dir: &Path) -> u64 {
    // A file may go away between listing and looking: then it takes no space.
    std::fs::read_dir(dir).unwrap().filter_map(|f| f.unwrap().metadata().ok()).map(|m| m.len()).sum()
}

#[tokio::test]
async fn a_million_changes_of_one_object_leave_a_small_store() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        history: Duration::from_secs(600),
        history_max_bytes: HISTORY_BYTES,
        checkpoint_min_bytes: CHECKPOINT_BYTES,
        segment_bytes: 1 << 20,
        ..Options::default()
    };
    let store = Embedded::open(dir.path(), options.clone()).unwrap();
    let mut slow = store.watch("/", Revision(0)).await.unwrap();
    let mut keeping_up = store.watch("/", Revision(0)).await.unwrap();
    let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(write_some(store.clone(), n))).collect();
    let (mut seen, mut reached, mut most_disk, mut most_history) = (0, 0, 0, 0);
    while reached < WRITES {
        let batch = keeping_up.next().await.unwrap().unwrap();
        seen += batch.events.len() as u64;
        reached = batch.revision.0;
        if reached % 64 == 0 {
            most_disk = most_disk.max(disk_bytes(dir.path()));
        }
        most_history = most_history.max(store.stats().unwrap().history_bytes);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen, WRITES, "who keeps up misses nothing");
    assert!(matches!(slow.next().await, Some(Err(Error::WatchTooSlow { .. }))), "who does not is told");
    assert!(slow.next().await.is_none());
    assert!(matches!(store.watch("/", Revision(1)).await.err(), Some(Error::Compacted { .. })));

    let stats = store.stats().unwrap();
    assert_eq!((stats.keys, stats.live_bytes), (1, "/one".len() + VALUE_BYTES));
    // One batch may be on top for the moment between applying and forgetting.
    assert!(most_history <= HISTORY_BYTES + 4096 * 500, "history took {most_history} bytes");
    // Log up to twice the limit, the old and the new checkpoint, and one segment over.
    let bound = 2 * CHECKPOINT_BYTES + 2 * HISTORY_BYTES as u64 + (4 << 20);
    assert!(most_disk <= bound, "the files took {most_disk} bytes, at most {bound} are allowed");
    assert!(store.disk_bytes() <= bound);

    drop((slow, keeping_up, store));
    let store = Embedded::open(dir.path(), options).unwrap();
    assert_eq!(store.revision().await.unwrap(), Revision(WRITES));
    assert_eq!(store.get("/one").await.unwrap().unwrap().modified, Revision(WRITES));
}

async fn write_some(store: Arc<Embedded>, writer: u64) {
    let key: Arc<str> = "/one".into();
    let value = Bytes::from(vec![u8::try_from(writer % 256).unwrap(); VALUE_BYTES]);
    for _ in 0..WRITES / WRITERS {
        let write = Write { key: key.clone(), expect: Expect::Anything, op: Op::Put { value: value.clone(), ttl: None } };
        assert!(matches!(store.write(write).await.unwrap(), Outcome::Committed { .. }));
    }
}
