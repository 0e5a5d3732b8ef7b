//! Commits per second and CPU per put of the embedded store, by the number of writers.
//!
//! `cargo run -p store --example bench -- [directory on the disk to measure] [seconds per figure]`
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use store::{Embedded, Expect, Op, Options, Store, Write};

const KEYS: u64 = 50_000;
const VALUE_BYTES: usize = 1024;

/// User and system time of this process. The unit of /proc is a hundredth of a second on every Linux we run on.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: u64 = args.next().map_or(2, |n| n.parse().unwrap());
    for writers in [1, 16, 256] {
        let dir = tempfile::tempdir_in(&parent).unwrap();
        let store = Embedded::open(dir.path(), Options::default()).unwrap();
        let puts = Arc::new(AtomicU64::new(0));
        let (began, cpu_before) = (Instant::now(), cpu());
        let until = began + Duration::from_secs(seconds);
        let tasks: Vec<_> = (0..writers).map(|n| tokio::spawn(write_until(store.clone(), n, until, puts.clone()))).collect();
        let mut slowest = Duration::ZERO;
        for task in tasks {
            slowest = slowest.max(task.await.unwrap());
        }
        let (puts, took, cpu) = (puts.load(Ordering::Relaxed), began.elapsed(), cpu() - cpu_before);
        println!(
            "{{\"writers\": {writers}, \"puts_per_second\": {:.0}, \"cpu_us_per_put\": {:.1}, \"slowest_ms\": {:.1}, \"disk_mib\": {:.1}, \"resident_mib\": {}}}",
            puts as f64 / took.as_secs_f64(),
            cpu.as_secs_f64() * 1e6 / puts as f64,
            slowest.as_secs_f64() * 1e3,
            store.disk_bytes() as f64 / f64::from(1 << 20),
            resident_kib() / 1024,
        );
    }
}

async fn write_until(store: Arc<Embedded>, writer: u64, until: Instant, puts: Arc<AtomicU64>) -> Duration {
    let random = stdx::Prng::seeded(writer);
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        let pod = random.below(KEYS);
        let key = format!("/registry/pods/namespace-{}/pod-{pod}", pod % 10);
        let value = Bytes::from(vec![random.next_u64().to_le_bytes()[0]; VALUE_BYTES]);
        let began = Instant::now();
        let write = Write { key: key.into(), expect: Expect::Anything, op: Op::Put { value, ttl: None } };
        store.write(write).await.unwrap();
        slowest = slowest.max(began.elapsed());
        puts.fetch_add(1, Ordering::Relaxed);
    }
    slowest
}
