//! Little-endian numbers and length-prefixed bytes; reading never trusts a length.

use std::sync::Arc;

use bytes::Bytes;

use super::state::Version;

/// Reads from the front of a slice; every method answers `None` when the bytes run out.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn prefixed(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        self.take(len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One key's version as [`put_version`] wrote it.
    pub(crate) fn version(&mut self) -> Option<(Arc<str>, Version)> {
        let key = Arc::from(std::str::from_utf8(self.prefixed()?).ok()?);
        let modified = self.u64()?;
        let created = self.u64()?;
        let deadline = match self.u64()? {
            0 => None,
            at => Some(at),
        };
        let value = match self.u8()? {
            TOMBSTONE => None,
            VALUE => Some(Bytes::copy_from_slice(self.prefixed()?)),
            _ => return None,
        };
        Some((key, Version { created, modified, value, deadline }))
    }
}

const TOMBSTONE: u8 = 0;
const VALUE: u8 = 1;

/// Bytes that [`put_version`] adds around key and value.
pub(crate) const VERSION_OVERHEAD: usize = 4 + 8 + 8 + 8 + 1 + 4;

fn put_prefixed(out: &mut Vec<u8>, data: &[u8]) {
    // Keys and values are limited far below 4 GiB before they come here.
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(data);
}

/// Writes one version of a key.
pub(crate) fn put_version(out: &mut Vec<u8>, key: &str, version: &Version) {
    put_prefixed(out, key.as_bytes());
    out.extend_from_slice(&version.modified.to_le_bytes());
    out.extend_from_slice(&version.created.to_le_bytes());
    out.extend_from_slice(&version.deadline.unwrap_or(0).to_le_bytes());
    match &version.value {
        None => out.push(TOMBSTONE),
        Some(value) => {
            out.push(VALUE);
            put_prefixed(out, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&data);
            while reader.version().is_some() {}
        }

        #[test]
        fn a_version_reads_back_as_written(key in ".{0,40}", value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..100)),
                                           modified: u64, created: u64, deadline in 1u64..) {
            let version = Version { created, modified, value: value.map(Bytes::from), deadline: Some(deadline) };
            let mut out = Vec::new();
            put_version(&mut out, &key, &version);
            prop_assert!(out.len() <= key.len() + version.value.as_ref().map_or(0, Bytes::len) + VERSION_OVERHEAD);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.version(), Some((Arc::from(key), version)));
            prop_assert!(reader.is_empty());
        }
    }
}
