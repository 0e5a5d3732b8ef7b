//! Header blocks: name and value pairs, compressed with one zlib stream per direction and SPDY's own dictionary
//! (SPDY protocol draft 3.1, section 2.6.10).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::error::Error;

/// Decompressed bytes of one block; Kubernetes' blocks have under 200.
const BLOCK_MAX_BYTES: usize = 64 << 10;
const PAIRS_MAX: u32 = 256;

/// Words that the dictionary starts with, each behind its length as four bytes.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow \
    authorization cache-control connection content-base content-encoding content-language content-length content-location content-md5 \
    content-range content-type date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since \
    last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer \
    transfer-encoding upgrade user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
/// What the dictionary ends with.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative \
Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not \
Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, \
GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivate\
max-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

pub(super) type Pairs = Vec<(String, String)>;

fn dictionary() -> Vec<u8> {
    let mut out = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace() {
        let word = word.replace('_', " ");
        out.extend_from_slice(&u32::try_from(word.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(word.as_bytes());
    }
    out.extend_from_slice(TAIL.as_bytes());
    out
}

pub(super) struct Encoder(Compress);

pub(super) struct Decoder {
    zlib: Decompress,
    dictionary: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Result<Self, Error> {
        let mut zlib = Compress::new(Compression::fast(), true);
        zlib.set_dictionary(&dictionary()).map_err(|e| Error::Protocol(e.to_string()))?;
        Ok(Self(zlib))
    }

    pub(super) fn encode(&mut self, pairs: &Pairs) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::new();
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        plain.extend_from_slice(&length(pairs.len()));
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend_from_slice(&length(text.len()));
            plain.extend_from_slice(text.as_bytes());
        }
        let mut out = Vec::with_capacity(plain.len() + 64);
        let mut read = 0;
        loop {
            let before = self.0.total_in();
            self.0
                .compress_vec(plain.get(read..).unwrap_or_default(), &mut out, FlushCompress::Sync)
                .map_err(|e| Error::Protocol(e.to_string()))?;
            read += usize::try_from(self.0.total_in() - before).unwrap_or(0);
            if read >= plain.len() && out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(256);
        }
    }
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { zlib: Decompress::new(true), dictionary: dictionary() }
    }

    pub(super) fn decode(&mut self, block: &[u8]) -> Result<Pairs, Error> {
        let broken = |why: &str| Error::Protocol(format!("header block: {why}"));
        let mut plain: Vec<u8> = Vec::with_capacity(1024);
        let mut read = 0;
        loop {
            let rest = block.get(read..).unwrap_or_default();
            let (before_in, before_out) = (self.zlib.total_in(), self.zlib.total_out());
            let result = self.zlib.decompress_vec(rest, &mut plain, FlushDecompress::Sync);
            read += usize::try_from(self.zlib.total_in() - before_in).unwrap_or(0);
            match result {
                Ok(Status::StreamEnd) => break,
                Ok(_) if plain.len() < plain.capacity() && read >= block.len() => break,
                Ok(_) if self.zlib.total_in() == before_in && self.zlib.total_out() == before_out && plain.len() < plain.capacity() => {
                    return Err(broken("it does not end"));
                }
                Ok(_) => {}
                Err(e) if e.needs_dictionary().is_some() => {
                    self.zlib.set_dictionary(&self.dictionary).map_err(|e| broken(&e.to_string()))?;
                }
                Err(e) => return Err(broken(&e.to_string())),
            }
            if plain.len() > BLOCK_MAX_BYTES {
                return Err(broken("it is too large"));
            }
            plain.reserve(1024);
        }
        pairs(&plain).ok_or_else(|| broken("it is cut short"))
    }
}

fn pairs(mut plain: &[u8]) -> Option<Pairs> {
    fn number(plain: &mut &[u8]) -> Option<u32> {
        let (head, rest) = plain.split_first_chunk::<4>()?;
        *plain = rest;
        Some(u32::from_be_bytes(*head))
    }
    fn text(plain: &mut &[u8]) -> Option<String> {
        let length = usize::try_from(number(plain)?).ok()?;
        let (head, rest) = plain.split_at_checked(length)?;
        *plain = rest;
        Some(String::from_utf8_lossy(head).into_owned())
    }
    let count = number(&mut plain).filter(|n| *n <= PAIRS_MAX)?;
    (0..count).map(|_| Some((text(&mut plain)?, text(&mut plain)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_spdys() {
        let sum = dictionary().iter().fold((1u32, 0u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        assert_eq!((sum.1 << 16) | sum.0, 0xe3c6_a7c2, "adler32 of the dictionary, as every SPDY/3 peer names it");
    }

    #[test]
    fn blocks_share_one_compression_state() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new());
        for n in 0..50 {
            let pairs: Pairs =
                vec![("streamtype".into(), "stdin".into()), ("port".into(), n.to_string()), ("x".repeat(n * 40), String::new())];
            let block = encoder.encode(&pairs).unwrap();
            assert_eq!(decoder.decode(&block).unwrap(), pairs);
        }
    }

    proptest::proptest! {
        #[test]
        fn decoding_never_panics(block in proptest::collection::vec(0u8..=255, 0..300)) {
            let _ = Decoder::new().decode(&block);
            let _ = pairs(&block);
        }
    }
}
