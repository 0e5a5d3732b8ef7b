//! The work queue of every controller: a key is queued at most once, never worked on by two workers at a time, and comes
//! back later after a failure (client-go `util/workqueue`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stdx::Backoff;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a failing key waits: doubling from 5 ms to 1000 s, as in client-go.
const RETRY: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1000));

/// A queue of keys. Its size is bounded by the number of distinct keys.
pub struct WorkQueue<T>(Arc<Inner<T>>);

struct Inner<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    retry: Backoff,
}

struct State<T> {
    ready: VecDeque<T>,
    /// Queued, or to be queued again once its worker is done.
    dirty: HashSet<T>,
    in_work: HashSet<T>,
    later: BinaryHeap<Reverse<(Instant, u64, Later<T>)>>,
    failures: HashMap<T, u32>,
    sequence: u64,
    shut: bool,
}

/// Compares equal always: the heap orders by time and sequence alone, so keys need no order.
struct Later<T>(T);

impl<T> PartialEq for Later<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<T> Eq for Later<T> {}
impl<T> PartialOrd for Later<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Later<T> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + Eq + Hash> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::with_retry(RETRY)
    }
}

impl<T: Clone + Eq + Hash> WorkQueue<T> {
    /// A queue whose failing keys wait as `retry` says.
    pub fn with_retry(retry: Backoff) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            in_work: HashSet::new(),
            later: BinaryHeap::new(),
            failures: HashMap::new(),
            sequence: 0,
            shut: false,
        };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: Notify::new(), retry }))
    }

    /// Queues the key; if it is in work, it comes again afterwards.
    pub fn add(&self, key: T) {
        self.lock().add(key);
        self.0.changed.notify_one();
    }

    /// Queues the key when the time has passed.
    pub fn add_after(&self, key: T, wait: Duration) {
        if wait.is_zero() {
            return self.add(key);
        }
        let mut state = self.lock();
        state.sequence += 1;
        let entry = (Instant::now() + wait, state.sequence, Later(key));
        state.later.push(Reverse(entry));
        drop(state);
        self.0.changed.notify_one();
    }

    /// Queues a key that failed, after its backoff.
    pub fn add_rate_limited(&self, key: T) {
        let failures = {
            let mut state = self.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures = failures.saturating_add(1);
            *failures
        };
        self.add_after(key, self.0.retry.after(failures));
    }

    /// Forgets the key's failures.
    pub fn forget(&self, key: &T) {
        self.lock().failures.remove(key);
    }

    /// How often the key has failed in a row.
    pub fn failures(&self, key: &T) -> u32 {
        self.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// The next key to work on; `None` after [`WorkQueue::shut_down`]. Call [`WorkQueue::done`] afterwards.
    pub async fn get(&self) -> Option<T> {
        loop {
            let changed = self.0.changed.notified();
            let next_due = {
                let mut state = self.lock();
                if state.shut {
                    return None;
                }
                state.move_due(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.in_work.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.0.changed.notify_one();
                    }
                    return Some(key);
                }
                state.later.peek().map(|Reverse((due, ..))| *due)
            };
            match next_due {
                Some(due) => drop(tokio::time::timeout_at(due, changed).await),
                None => changed.await,
            }
        }
    }

    /// The key's work has ended.
    pub fn done(&self, key: &T) {
        let mut state = self.lock();
        state.in_work.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.0.changed.notify_one();
        }
    }

    /// How many keys wait to be worked on now.
    pub fn len(&self) -> usize {
        self.lock().ready.len()
    }

    /// Whether no key waits to be worked on now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all workers after their current key.
    pub fn shut_down(&self) {
        self.lock().shut = true;
        self.0.changed.notify_waiters();
        self.0.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn add(&mut self, key: T) {
        if self.dirty.insert(key.clone()) && !self.in_work.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn move_due(&mut self, now: Instant) {
        while self.later.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((_, _, Later(key)))) = self.later.pop() {
                self.add(key);
            }
        }
    }
}

/// Works the queue off with `workers` workers until it is shut down. A failed key is logged and retried with backoff.
/// `what` names the controller in the log.
pub async fn run_workers<T, F, Fut, E>(what: &'static str, queue: WorkQueue<T>, workers: usize, sync: F)
where
    T: Clone + Eq + Hash + Display + Send + 'static,
    F: Fn(T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Display,
{
    let work = || async {
        while let Some(key) = queue.get().await {
            match sync(key.clone()).await {
                Ok(()) => queue.forget(&key),
                Err(error) => {
                    // The first failures are mostly conflicts with a newer version, which the next pass resolves.
                    if queue.failures(&key) < 3 {
                        tracing::debug!(controller = what, %key, %error, "will retry");
                    } else {
                        tracing::warn!(controller = what, %key, %error, "still failing, will retry");
                    }
                    queue.add_rate_limited(key.clone());
                }
            }
            queue.done(&key);
        }
    };
    futures::future::join_all((0..workers.max(1)).map(|_| work())).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_queued_once_and_comes_again_if_it_changed_while_in_work() {
        let q: WorkQueue<&str> = WorkQueue::default();
        q.add("a");
        q.add("a");
        assert_eq!(q.len(), 1);
        assert_eq!(q.get().await, Some("a"));
        q.add("a");
        assert_eq!(q.len(), 0, "a second worker must not get a key that is in work");
        q.done(&"a");
        assert_eq!(q.get().await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_key_waits_longer_each_time_and_others_do_not_wait_for_it() {
        let q: WorkQueue<&str> = WorkQueue::with_retry(Backoff::new(Duration::from_secs(1), Duration::from_secs(60)));
        q.add_rate_limited("bad");
        q.add("good");
        assert_eq!(q.get().await, Some("good"));
        let started = Instant::now();
        assert_eq!(q.get().await, Some("bad"));
        assert_eq!(started.elapsed().as_secs(), 1);
        q.done(&"bad");
        q.add_rate_limited("bad");
        assert_eq!(q.get().await, Some("bad"));
        assert_eq!(started.elapsed().as_secs(), 3);
        q.forget(&"bad");
        assert_eq!(q.failures(&"bad"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn shutting_down_ends_waiting_workers() {
        let q: WorkQueue<&str> = WorkQueue::default();
        let waiting = tokio::spawn({
            let q = q.clone();
            async move { q.get().await }
        });
        tokio::task::yield_now().await;
        q.shut_down();
        assert_eq!(waiting.await.unwrap(), None);
    }
}
