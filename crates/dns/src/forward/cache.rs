//! Remembered responses of other name servers.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use crate::wire::{HEADER, Query, skip_name};

/// Bounds: entries and bytes; when full, the oldest entries go.
const MAX_ENTRIES: usize = 4096;
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// No answer is kept longer than this, whatever it says.
const LONGEST: u32 = 30;
/// "Server failure" and the like are not kept at all, "no such name" is.
const NO_ERROR: u8 = 0;
const NO_SUCH_NAME: u8 = 3;
const TYPE_OPT: u16 = 41;

/// Name, type and class in wire form and lower case, and the flags and EDNS bytes that the answer depends on.
type Key = Box<[u8]>;

#[derive(Debug)]
struct Entry {
    response: Vec<u8>,
    /// Where the lifetimes stand in the response.
    lifetimes: Vec<usize>,
    since: SystemTime,
    seconds: u32,
    number: u64,
}

#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// In order of arrival; entries replaced since are skipped by their number.
    order: VecDeque<(Key, u64)>,
    bytes: usize,
    next: u64,
}

impl Cache {
    pub(super) fn key(query: &Query<'_>) -> Key {
        let packet = query.packet();
        let mut key = query.name().to_vec();
        let after = HEADER + query.question_bytes().len();
        key.extend_from_slice(&query.kind.0.to_be_bytes());
        key.extend_from_slice(packet.get(after - 2..after).unwrap_or_default());
        // Recursion desired, checking disabled, authentic data; then EDNS options such as "DNSSEC OK".
        key.extend(packet.get(2..4).into_iter().flatten().zip([0x01, 0x30]).map(|(byte, mask)| byte & mask));
        key.extend_from_slice(packet.get(after..).unwrap_or_default());
        key.into()
    }

    /// The remembered response, with `query`'s number and spelling, and lifetimes as they are now.
    pub(super) fn get(&mut self, key: &[u8], now: SystemTime, query: &Query<'_>) -> Option<Vec<u8>> {
        let entry = self.entries.get(key)?;
        let age = u32::try_from(now.duration_since(entry.since).unwrap_or_default().as_secs()).unwrap_or(u32::MAX);
        if age >= entry.seconds {
            return None;
        }
        let mut response = entry.response.clone();
        for at in &entry.lifetimes {
            let slot = response.get_mut(*at..*at + 4)?;
            let left = u32::from_be_bytes((&*slot).try_into().ok()?).saturating_sub(age);
            slot.copy_from_slice(&left.to_be_bytes());
        }
        response.get_mut(..2)?.copy_from_slice(query.packet().get(..2)?);
        let question = query.question_bytes();
        response.get_mut(HEADER..HEADER + question.len())?.copy_from_slice(question);
        Some(response)
    }

    pub(super) fn put(&mut self, key: Key, response: &[u8], now: SystemTime) {
        let Some((lifetimes, seconds)) = lifetimes(response) else { return };
        let code = response.get(3).map_or(0xf, |b| b & 0xf);
        if seconds == 0 || !matches!(code, NO_ERROR | NO_SUCH_NAME) || response.len() > MAX_BYTES {
            return;
        }
        self.next += 1;
        let number = self.next;
        self.bytes += response.len() + key.len();
        self.order.push_back((key.clone(), number));
        let entry = Entry { response: response.to_vec(), lifetimes, since: now, seconds, number };
        if let Some(old) = self.entries.insert(key.clone(), entry) {
            self.bytes -= old.response.len() + key.len();
        }
        // The order may hold more than the entries: replaced ones leave a trace until they reach the front.
        while self.order.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some((oldest, number)) = self.order.pop_front() else { break };
            if self.entries.get(&oldest).is_some_and(|e| e.number == number)
                && let Some(gone) = self.entries.remove(&oldest)
            {
                self.bytes -= gone.response.len() + oldest.len();
            }
        }
    }
}

/// Where the lifetimes of all records stand, and the shortest, at most [`LONGEST`]. `None` when the response cannot
/// be read; zero seconds when it says nothing about its lifetime.
fn lifetimes(response: &[u8]) -> Option<(Vec<usize>, u32)> {
    let number = |at: usize| Some(u16::from_be_bytes(response.get(at..at.checked_add(2)?)?.try_into().ok()?));
    let mut at = HEADER;
    for _ in 0..number(4)? {
        at = skip_name(response, at)?.checked_add(4)?;
    }
    let (mut places, mut shortest) = (Vec::new(), None::<u32>);
    for _ in 0..u32::from(number(6)?) + u32::from(number(8)?) + u32::from(number(10)?) {
        let fixed = skip_name(response, at)?;
        let lifetime = fixed.checked_add(4)?;
        if number(fixed)? != TYPE_OPT {
            let seconds = u32::from_be_bytes(response.get(lifetime..lifetime.checked_add(4)?)?.try_into().ok()?);
            shortest = Some(shortest.map_or(seconds, |s| s.min(seconds)));
            places.push(lifetime);
        }
        at = fixed.checked_add(10)?.checked_add(usize::from(number(fixed.checked_add(8)?)?))?;
    }
    (at <= response.len()).then(|| (places, shortest.unwrap_or(0).min(LONGEST)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn query(name: &str) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(crate::WireName::parse(name).unwrap().as_bytes());
        bytes.extend_from_slice(&[0, 1, 0, 1]);
        bytes
    }

    fn response(name: &str, ttl: u32) -> Vec<u8> {
        let mut bytes = query(name);
        bytes[2] |= 0x80;
        bytes[7] = 1;
        bytes.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        bytes.extend_from_slice(&ttl.to_be_bytes());
        bytes.extend_from_slice(&[0, 4, 192, 0, 2, 7]);
        bytes
    }

    #[test]
    fn answers_age_and_then_go() {
        let (mut cache, start) = (Cache::default(), SystemTime::UNIX_EPOCH);
        let mut packet = query("a.example");
        cache.put(Cache::key(&Query::parse(&packet).unwrap()), &response("a.example", 20), start);
        packet[0] = 7;
        packet[13] = b'A';
        let asked = Query::parse(&packet).unwrap();
        let later = cache.get(&Cache::key(&asked), start + Duration::from_secs(6), &asked).unwrap();
        assert_eq!((later[0], later[13]), (7, b'A'), "the question is the client's own");
        assert_eq!(later[later.len() - 10..later.len() - 6], 14u32.to_be_bytes());
        assert_eq!(cache.get(&Cache::key(&asked), start + Duration::from_secs(20), &asked), None);
        cache.put(Cache::key(&asked), &response("a.example", 9999), start);
        assert_eq!(cache.get(&Cache::key(&asked), start + Duration::from_secs(LONGEST.into()), &asked), None);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = Cache::default();
        for n in 0..2 * MAX_ENTRIES {
            let name = format!("n{n}.example");
            cache.put(Cache::key(&Query::parse(&query(&name)).unwrap()), &response(&name, 9), SystemTime::UNIX_EPOCH);
        }
        assert!(cache.entries.len() <= MAX_ENTRIES && cache.order.len() <= MAX_ENTRIES && cache.bytes <= MAX_BYTES);
        let held: usize = cache.entries.iter().map(|(k, e)| k.len() + e.response.len()).sum();
        assert_eq!(cache.bytes, held);
    }

    proptest! {
        #[test]
        fn any_response_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = lifetimes(&bytes);
        }
    }
}
