//! The bytes of netlink: a header, a fixed part, then nested type-length-value attributes, all padded to 4.
//! Source: `linux/netlink.h`, RFC 3549.

/// Length of `struct nlmsghdr`.
pub(crate) const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// Marks an attribute whose payload is attributes.
const NESTED: u16 = 0x8000;
/// The two high bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;

/// Header flags.
pub mod flags {
    /// Every request has it.
    pub const REQUEST: u16 = 0x1;
    /// Answer also when all went well.
    pub const ACK: u16 = 0x4;
    /// Replace an existing object.
    pub const REPLACE: u16 = 0x100;
    /// Refuse if the object exists.
    pub const EXCL: u16 = 0x200;
    /// Create the object if it does not exist.
    pub const CREATE: u16 = 0x400;
    /// Add at the end.
    pub const APPEND: u16 = 0x800;
    /// Return all objects.
    pub const DUMP: u16 = 0x300;
}

/// One outgoing message under construction. Lengths that do not fit the format (an attribute over 64 KiB) make the
/// kernel refuse the message; callers chunk before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of `kind` with header `flags`, followed by the kind's `fixed` part.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(fixed);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    /// Adds raw bytes (a fixed part inside a nest).
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Adds an attribute.
    pub fn put(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        let length = u16::try_from(ATTRIBUTE_HEADER + payload.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(payload)
    }

    /// Adds a NUL-terminated string attribute.
    pub fn put_str(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// Adds a number in the machine's byte order (routing netlink).
    pub fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_ne_bytes())
    }

    /// Adds a number in network byte order (netfilter).
    pub fn put_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Adds an attribute that holds what `fill` adds.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(slot) = self.bytes.get_mut(start..start + 2) {
            slot.copy_from_slice(&length.to_ne_bytes());
        }
        self
    }

    /// Adds header flags to those given at the start.
    pub fn add_flags(&mut self, more: u16) -> &mut Self {
        let now = self.bytes.get(6..8).and_then(|b| b.try_into().ok()).map_or(0, u16::from_ne_bytes);
        if let Some(slot) = self.bytes.get_mut(6..8) {
            slot.copy_from_slice(&(now | more).to_ne_bytes());
        }
        self
    }

    /// The finished bytes, numbered `sequence`.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        for (at, value) in [(0, length), (8, sequence)] {
            if let Some(slot) = self.bytes.get_mut(at..at + 4) {
                slot.copy_from_slice(&value.to_ne_bytes());
            }
        }
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message of an answer, without its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// The message's type.
    pub kind: u16,
    /// The header's flags.
    pub flags: u16,
    /// The number of the request it answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The messages of one datagram. Ends early, with [`Messages::is_malformed`], on bytes that are no message.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Messages<'a> {
    /// Reads `datagram`.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram, malformed: false }
    }

    /// Whether reading stopped at bytes that are no message.
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Incoming<'a>;

    fn next(&mut self) -> Option<Incoming<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = (|| {
            let length = usize::try_from(u32_at(self.rest, 0)?).ok()?;
            let body = self.rest.get(HEADER..length)?;
            let incoming =
                Incoming { kind: u16_at(self.rest, 4)?, flags: u16_at(self.rest, 6)?, sequence: u32_at(self.rest, 8)?, payload: body };
            Some((incoming, self.rest.get(length.next_multiple_of(4)..).unwrap_or_default()))
        })();
        let Some((incoming, rest)) = parsed else {
            self.malformed = true;
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        Some(incoming)
    }
}

/// One attribute of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, without flag bits.
    pub kind: u16,
    /// Its bytes.
    pub payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// As a number in network byte order.
    pub fn be32(&self) -> Option<u32> {
        self.payload.get(..4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// As a text that ends at the first NUL.
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.payload.split(|b| *b == 0).next()?).ok()
    }

    /// As attributes.
    pub fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.payload)
    }
}

/// The attributes in a run of bytes; stops at the first that does not fit.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Reads `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first attribute of `kind`.
    pub fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        self.clone().find(|a| a.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let kind = u16_at(self.rest, 2)? & TYPE_MASK;
        let payload = self.rest.get(ATTRIBUTE_HEADER..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, payload })
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut m = Message::new(20, flags::REQUEST, &[1, 2, 3, 4]);
        m.put_str(3, "lo").nest(18, |m| {
            m.put(1, b"veth\0").put_be32(2, 7);
        });
        let bytes = m.finish(9);
        let read: Vec<_> = Messages::new(&bytes).collect();
        assert_eq!((read.len(), read[0].kind, read[0].sequence), (1, 20, 9));
        let attributes = Attributes::new(&read[0].payload[4..]);
        assert_eq!(attributes.get(3).unwrap().text(), Some("lo"));
        let inner = attributes.get(18).unwrap().nested();
        assert_eq!(inner.get(1).unwrap().text(), Some("veth"));
        assert_eq!(inner.get(2).unwrap().be32(), Some(7));
    }

    #[test]
    fn a_length_beyond_the_datagram_is_malformed() {
        let mut bytes = Message::new(2, 0, &[0; 4]).finish(1);
        bytes[0] = 200;
        let mut read = Messages::new(&bytes);
        assert!(read.next().is_none() && read.is_malformed());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_come_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for message in Messages::new(&bytes) {
                for attribute in Attributes::new(message.payload) {
                    let _ = (attribute.be32(), attribute.text(), attribute.nested().count());
                }
            }
            prop_assert!(Attributes::new(&bytes).count() <= bytes.len());
        }
    }
}
