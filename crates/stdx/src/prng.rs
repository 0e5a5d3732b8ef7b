//! Seeded randomness (SplitMix64): names, UIDs, jitter. Not for keys or tokens; those come from `ring`.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A shared generator; clones draw from one sequence.
#[derive(Clone, Debug)]
pub struct Prng(Arc<AtomicU64>);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Kubernetes' alphabet for generated name suffixes: no vowels and no look-alikes, so no words arise.
const NAME_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl Prng {
    /// The same seed gives the same sequence.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// Seeded from the kernel.
    pub fn from_entropy() -> Self {
        let mut seed = [0u8; 8];
        let read = File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut seed));
        if read.is_err() {
            let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
            seed = (u64::from(nanos) ^ (u64::from(std::process::id()) << 32)).to_le_bytes();
        }
        Self::seeded(u64::from_le_bytes(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&self) -> u64 {
        let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 when `bound` is 0).
    pub fn below(&self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// A random (version 4) UUID in its usual text form.
    pub fn uuid(&self) -> String {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }

    /// `len` characters for a generated name (`generateName`, pod suffixes).
    pub fn name_suffix(&self, len: usize) -> String {
        (0..len)
            .map(|_| {
                let at = usize::try_from(self.below(NAME_ALPHABET.len() as u64)).unwrap_or(0);
                char::from(NAME_ALPHABET.get(at).copied().unwrap_or(b'x'))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_sequence_and_uuids_have_their_version() {
        assert_eq!(Prng::seeded(7).next_u64(), Prng::seeded(7).next_u64());
        let id = Prng::seeded(1).uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }

    #[test]
    fn suffixes_use_the_safe_alphabet() {
        let s = Prng::seeded(3).name_suffix(200);
        assert!(s.bytes().all(|b| NAME_ALPHABET.contains(&b)), "{s}");
    }
}
