//! Protobuf's wire format: tags, numbers, lengths.

use super::ProtoError;

/// A field's value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WireValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    /// A wire type that Kubernetes does not use; it is passed over.
    Other(u8),
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn varint(&mut self) -> Result<u64, ProtoError> {
        let mut out = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.bytes.split_first().ok_or(ProtoError::End)?;
            self.bytes = rest;
            out |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(out);
            }
        }
        Err(ProtoError::Overflow)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], ProtoError> {
        let length = usize::try_from(length).map_err(|_| ProtoError::End)?;
        let (head, rest) = self.bytes.split_at_checked(length).ok_or(ProtoError::End)?;
        self.bytes = rest;
        Ok(head)
    }

    pub(crate) fn fixed64(&mut self) -> Result<u64, ProtoError> {
        let head = self.take(8)?;
        Ok(u64::from_le_bytes(head.try_into().map_err(|_| ProtoError::End)?))
    }

    /// The next field, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, WireValue<'a>)>, ProtoError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let tag = u32::try_from(key >> 3).ok().filter(|t| *t > 0).ok_or(ProtoError::Tag(key))?;
        let value = match key & 7 {
            0 => WireValue::Varint(self.varint()?),
            1 => WireValue::Fixed64(self.fixed64()?),
            2 => {
                let length = self.varint()?;
                WireValue::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                WireValue::Other(5)
            }
            _ => return Err(ProtoError::Tag(key)),
        };
        Ok(Some((tag, value)))
    }
}

impl<'a> WireValue<'a> {
    fn wrong(self, field: &str) -> ProtoError {
        let wire = match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Other(t) => t,
        };
        ProtoError::WireType { field: field.to_owned(), wire }
    }

    pub(crate) fn varint(self, field: &str) -> Result<u64, ProtoError> {
        if let Self::Varint(n) = self { Ok(n) } else { Err(self.wrong(field)) }
    }

    pub(crate) fn fixed64(self, field: &str) -> Result<u64, ProtoError> {
        if let Self::Fixed64(n) = self { Ok(n) } else { Err(self.wrong(field)) }
    }

    pub(crate) fn bytes(self, field: &str) -> Result<&'a [u8], ProtoError> {
        if let Self::Bytes(b) = self { Ok(b) } else { Err(self.wrong(field)) }
    }

    pub(crate) fn text(self, field: &str) -> Result<String, ProtoError> {
        Ok(String::from_utf8_lossy(self.bytes(field)?).into_owned())
    }
}

#[derive(Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn plain(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.out.push(u8::try_from(n & 0x7f).unwrap_or(0) | 0x80);
            n >>= 7;
        }
        self.out.push(u8::try_from(n).unwrap_or(0));
    }

    pub(crate) fn varint(&mut self, tag: u32, n: u64) {
        self.plain(u64::from(tag) << 3);
        self.plain(n);
    }

    /// A signed number; negative ones take ten bytes, as in Go.
    pub(crate) fn int(&mut self, tag: u32, n: i64) {
        self.varint(tag, n.cast_unsigned());
    }

    pub(crate) fn fixed64(&mut self, tag: u32, n: u64) {
        self.plain(u64::from(tag) << 3 | 1);
        self.out.extend_from_slice(&n.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        self.plain(u64::from(tag) << 3 | 2);
        self.plain(bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }
}
