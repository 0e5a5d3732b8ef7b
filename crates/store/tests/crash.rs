//! `kill -9` under write load, again and again on one store: no acknowledged write is lost, revisions never go back,
//! nothing is half-written.
//!
//! `FERRY_CRASH_ROUNDS` sets the rounds (30 by default; the full run is 200), `FERRY_CRASH_SEED` the random moments.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stdx::Prng;
use store::{Embedded, Expect, Op, Options, Outcome, Range, Revision, Store, Write};

const DIRECTORY: &str = "FERRY_CRASH_DIRECTORY";
const ROUND: &str = "FERRY_CRASH_ROUND";
const WRITERS: u64 = 8;
const KEYS_PER_WRITER: u64 = 5;
/// Counters of different rounds never meet.
const COUNTERS_PER_ROUND: u64 = 1_000_000;

/// Small, so that segments and checkpoints begin and end many times in each round.
fn options() -> Options {
    Options { checkpoint_min_bytes: 64 << 10, segment_bytes: 16 << 10, history_max_bytes: 64 << 10, ..Options::default() }
}

fn key(writer: u64, counter: u64) -> String {
    format!("/{writer}/{}", counter % KEYS_PER_WRITER)
}

/// What the counter's operation leaves under its key: a value that shows its counter and any missing or foreign byte,
/// or nothing. Every eleventh is a removal.
fn effect(counter: u64) -> Option<Vec<u8>> {
    if counter % 11 == 7 {
        return None;
    }
    let mut value = format!("{counter}:").into_bytes();
    let filler = Prng::seeded(counter);
    let len = usize::try_from(filler.below(1500)).unwrap();
    value.extend((0..len).map(|_| filler.next_u64().to_le_bytes()[0]));
    Some(value)
}

/// The writing process, run by the parent test; on its own it does nothing.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = Embedded::open(Path::new(&directory), options()).unwrap();
        say("READY");
        let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write_on(store.clone(), writer, round))).collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write_on(store: Arc<Embedded>, writer: u64, round: u64) {
    for counter in round * COUNTERS_PER_ROUND.. {
        let op = match effect(counter) {
            Some(value) => Op::Put { value: Bytes::from(value), ttl: None },
            None => Op::Delete,
        };
        let write = Write { key: key(writer, counter).as_str().into(), expect: Expect::Anything, op };
        match store.write(write).await.unwrap() {
            Outcome::Committed { revision, .. } => say(&format!("ACK {writer} {counter} {}", revision.0)),
            // A removal of what was not there: nothing to remember.
            Outcome::Mismatch { .. } => say(&format!("ACK {writer} {counter} 0")),
        }
    }
}

/// One write call per line, so that a kill cuts no line that was begun before.
fn say(line: &str) {
    std::io::stdout().lock().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// What the child has acknowledged: per writer the last counter, and the highest revision.
#[derive(Default)]
struct Heard {
    last: BTreeMap<u64, u64>,
    revision: u64,
}

fn parse(line: &str, heard: &mut Heard) {
    let Some(rest) = line.strip_prefix("ACK ") else { return };
    let numbers: Vec<u64> = rest.split(' ').map_while(|n| n.parse().ok()).collect();
    if let [writer, counter, revision] = numbers[..] {
        heard.last.insert(writer, counter);
        heard.revision = heard.revision.max(revision);
    }
}

/// Runs the child and kills it at a random moment: mostly under load, sometimes while it opens the store.
fn run_and_kill(directory: &Path, round: u64, random: &Prng) -> Heard {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    if random.below(5) > 0 {
        lines.find(|line| line == "READY").expect("the child opens its store");
    }
    let reader = std::thread::spawn(move || {
        let mut heard = Heard::default();
        lines.for_each(|line| parse(&line, &mut heard));
        heard
    });
    std::thread::sleep(Duration::from_millis(random.below(80)));
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

type Contents = BTreeMap<String, Vec<u8>>;

/// The keys of a writer after all its operations of the round up to `last`.
fn replay(before: &Contents, writer: u64, counters: impl Iterator<Item = u64>) -> Contents {
    let own = format!("/{writer}/");
    let mut contents: Contents = before.iter().filter(|(k, _)| k.starts_with(&own)).map(|(k, v)| (k.clone(), v.clone())).collect();
    for counter in counters {
        match effect(counter) {
            Some(value) => contents.insert(key(writer, counter), value),
            None => contents.remove(&key(writer, counter)),
        };
    }
    contents
}

#[test]
fn kill_nine_under_load_loses_nothing() {
    let rounds: u64 = std::env::var("FERRY_CRASH_ROUNDS").map_or(30, |n| n.parse().unwrap());
    let seed: u64 = std::env::var("FERRY_CRASH_SEED").map_or(1, |n| n.parse().unwrap());
    let random = Prng::seeded(seed);
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut before, mut newest) = (Contents::new(), Revision(0));
    let mut acknowledged = 0;
    for round in 0..rounds {
        let heard = run_and_kill(dir.path(), round, &random);
        let store = Embedded::open(dir.path(), options()).unwrap_or_else(|e| panic!("seed {seed}, round {round}: {e}"));
        let revision = runtime.block_on(store.revision()).unwrap();
        assert!(
            revision >= newest && revision.0 >= heard.revision,
            "seed {seed}, round {round}: {revision:?} < {newest:?} or {}",
            heard.revision
        );
        let range = Range { prefix: "".into(), after: None, limit: 0, at: None };
        let entries = runtime.block_on(store.range(range)).unwrap().entries;
        assert!(entries.iter().all(|e| e.created <= e.modified && e.modified <= revision));
        let found: Contents = entries.iter().map(|e| (e.key.to_string(), e.value.to_vec())).collect();
        for writer in 0..WRITERS {
            let first = round * COUNTERS_PER_ROUND;
            let next = heard.last.get(&writer).map_or(first, |last| last + 1);
            acknowledged += next - first;
            let own = replay(&found, writer, std::iter::empty());
            let exact = replay(&before, writer, first..next);
            // The write under way when the process died may have happened.
            let and_one = replay(&exact, writer, next..=next);
            assert!(
                own == exact || own == and_one,
                "seed {seed}, round {round}, writer {writer}: not the state after {next} or the one before"
            );
        }
        (before, newest) = (found, revision);
    }
    assert!(
        rounds < 10 || acknowledged > rounds * 10,
        "only {acknowledged} writes in {rounds} rounds: the load is too small to mean anything"
    );
    println!("{rounds} rounds, {acknowledged} acknowledged writes, newest revision {}", newest.0);
}
