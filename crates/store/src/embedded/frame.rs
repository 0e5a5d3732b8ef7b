//! A frame on the disk: magic, payload length, checksum (CRC-32C over salt, length and payload), payload.
//!
//! The salt is a random number per file. Without it a value could contain what looks like a frame, and whoever
//! writes values could make a torn tail look like damage.

use std::io::{self, Read};

/// Bytes before the payload.
pub(crate) const HEAD_BYTES: usize = 12;
/// The largest payload. A longer length is damage: it bounds what reading a bad file may allocate.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 16 << 20;
const MAGIC: [u8; 4] = *b"FRYf";

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A whole frame, and how many bytes it takes with its head.
    Frame { payload: &'a [u8], bytes: usize },
    /// Nothing more.
    End,
    /// Not a whole frame: cut off, or damaged.
    Broken,
}

/// Appends a frame to `out`; `fill` writes the payload.
pub(crate) fn put(out: &mut Vec<u8>, salt: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    fill(out);
    let payload_bytes = out.len().saturating_sub(start + HEAD_BYTES);
    debug_assert!(payload_bytes <= MAX_PAYLOAD_BYTES, "the writers keep their batches below the limit");
    let len = u32::try_from(payload_bytes).unwrap_or(u32::MAX).to_le_bytes();
    let sum = checksum(salt, len, out.get(start + HEAD_BYTES..).unwrap_or_default()).to_le_bytes();
    let head = MAGIC.into_iter().chain(len).chain(sum);
    for (place, byte) in out.iter_mut().skip(start).zip(head) {
        *place = byte;
    }
}

/// Looks at the front of `data`.
pub(crate) fn decode(data: &[u8], salt: u32) -> Found<'_> {
    if data.is_empty() {
        return Found::End;
    }
    whole(data, salt).map_or(Found::Broken, |payload| Found::Frame { payload, bytes: HEAD_BYTES + payload.len() })
}

fn whole(data: &[u8], salt: u32) -> Option<&[u8]> {
    let (head, rest) = data.split_first_chunk::<HEAD_BYTES>()?;
    let (len, sum) = parse_head(head)?;
    let payload = rest.get(..payload_bytes(len)?)?;
    (checksum(salt, len, payload) == sum).then_some(payload)
}

/// The length and checksum fields, when the magic is right.
fn parse_head(head: &[u8; HEAD_BYTES]) -> Option<([u8; 4], u32)> {
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (sum, _) = rest.split_first_chunk::<4>()?;
    (*magic == MAGIC).then_some((*len, u32::from_le_bytes(*sum)))
}

fn payload_bytes(len: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(len)).ok().filter(|n| *n <= MAX_PAYLOAD_BYTES)
}

/// Reads the next frame's payload from a file; `None` at its end, `InvalidData` where a frame is cut off or damaged.
pub(crate) fn read(from: &mut impl Read, salt: u32) -> io::Result<Option<Vec<u8>>> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "a frame is cut off or its checksum is wrong");
    let mut head = Vec::with_capacity(HEAD_BYTES);
    from.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    if head.is_empty() {
        return Ok(None);
    }
    let head: [u8; HEAD_BYTES] = head.try_into().map_err(|_| broken())?;
    let (len, sum) = parse_head(&head).ok_or_else(broken)?;
    let wanted = payload_bytes(len).ok_or_else(broken)?;
    let mut payload = Vec::new();
    from.by_ref().take(wanted as u64).read_to_end(&mut payload)?;
    if payload.len() != wanted || checksum(salt, len, &payload) != sum {
        return Err(broken());
    }
    Ok(Some(payload))
}

/// Whether a whole frame begins anywhere after the first byte. Where it does, the bytes before it are damage and not a
/// torn tail: a frame is only written when the one before it is on the disk.
pub(crate) fn any_later(data: &[u8], salt: u32) -> bool {
    let mut rest = data.get(1..).unwrap_or_default();
    while !rest.is_empty() {
        if rest.starts_with(&MAGIC) && whole(rest, salt).is_some() {
            return true;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

fn checksum(salt: u32, len: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &len), payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(salt: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, salt, |o| o.extend_from_slice(payload));
        out
    }

    #[test]
    fn another_files_salt_does_not_fit() {
        let data = framed(1, b"x");
        assert!(matches!(decode(&data, 1), Found::Frame { payload: b"x", .. }));
        assert_eq!(decode(&data, 2), Found::Broken);
    }

    #[test]
    fn a_frame_behind_a_broken_one_is_seen() {
        let mut data = framed(1, b"first");
        data[HEAD_BYTES] ^= 1;
        assert!(!any_later(&data, 1));
        data.extend(framed(1, b"second"));
        assert!(any_later(&data, 1));
        assert!(!any_later(&data, 2));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_or_a_cut_is_always_noticed(payload in proptest::collection::vec(any::<u8>(), 0..60), at: usize, bit in 0u8..8) {
            let data = framed(9, &payload);
            prop_assert_eq!(decode(&data, 9), Found::Frame { payload: &payload, bytes: data.len() });
            prop_assert_eq!(read(&mut data.as_slice(), 9).unwrap(), Some(payload));
            let at = at % data.len();
            let mut flipped = data.clone();
            flipped[at] ^= 1 << bit;
            prop_assert_eq!(decode(&flipped, 9), Found::Broken);
            prop_assert!(read(&mut flipped.as_slice(), 9).is_err());
            let cut = matches!(decode(&data[..at], 9), Found::Frame { .. });
            prop_assert!(!cut);
        }

        #[test]
        fn any_bytes_are_looked_at_without_a_panic(data in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&data, 0);
            let _ = any_later(&data, 0);
            let _ = read(&mut data.as_slice(), 0);
        }
    }
}
