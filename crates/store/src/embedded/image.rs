//! A picture of the state in one file: a head, frames of versions, a tail. Checkpoints and snapshots are such files.
//!
//! It appears under its name only when it is whole and durable, so any fault found in one is damage.

use std::fs::{self, File};
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::codec::{Reader, put_version};
use super::directory::{FORMAT, create_beside, sync_directory};
use super::frame;
use super::log::SyncFile;
use super::state::Version;
use crate::Error;

/// A frame is written when it has so many bytes.
const FRAME_BYTES: usize = 256 << 10;
/// Revisions from a file stay far away from overflow; a larger one is damage.
const MAX_REVISION: u64 = 1 << 62;
const NO_SALT: u32 = 0;
const HEAD: u8 = 16;
const VERSIONS: u8 = 17;
const TAIL: u8 = 18;

/// What the picture is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// It stands for all log segments before this one.
    pub(crate) seq: u64,
    /// It holds the versions up to here.
    pub(crate) revision: u64,
    /// When it was begun, in milliseconds since the epoch.
    pub(crate) at_ms: u64,
}

/// What is known only at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The history is complete after this revision. It may lie after [`Head::revision`] when history was forgotten meanwhile.
    pub(crate) floor: u64,
    /// Commits up to here were durable when it was ended: a log that ends before is damaged.
    pub(crate) durable: u64,
}

/// Writes an image.
pub(crate) struct Writer {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    salt: u32,
    /// Versions not framed yet.
    waiting: Vec<u8>,
    out: Vec<u8>,
    versions: u64,
    bytes: u64,
}

impl Writer {
    pub(crate) fn create(path: &Path, head: Head) -> io::Result<Self> {
        let (file, temporary) = create_beside(path)?;
        let salt = stdx::Prng::from_entropy().next_u64() as u32;
        let mut out = Vec::new();
        frame::put(&mut out, NO_SALT, |out| {
            out.push(HEAD);
            out.extend_from_slice(&FORMAT.to_le_bytes());
            out.extend_from_slice(&salt.to_le_bytes());
            for number in [head.seq, head.revision, head.at_ms] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        });
        Ok(Self { file, path: path.to_path_buf(), temporary, salt, waiting: Vec::new(), out, versions: 0, bytes: 0 })
    }

    /// Adds a version. Those of one key come together, oldest first.
    pub(crate) fn version(&mut self, key: &str, version: &Version) -> io::Result<()> {
        put_version(&mut self.waiting, key, version);
        self.versions += 1;
        if self.waiting.len() >= FRAME_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            let (salt, versions) = (self.salt, &self.waiting);
            frame::put(&mut self.out, salt, |out| {
                out.push(VERSIONS);
                out.extend_from_slice(versions);
            });
            self.waiting.clear();
        }
        self.file.write_all(&self.out)?;
        self.bytes += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }

    /// Ends the image and gives it its name; it is durable when this returns its length.
    pub(crate) fn finish(mut self, tail: Tail, sync: &SyncFile) -> io::Result<u64> {
        self.flush()?;
        let versions = self.versions;
        frame::put(&mut self.out, self.salt, |out| {
            out.push(TAIL);
            for number in [versions, tail.floor, tail.durable] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        });
        self.flush()?;
        sync(&self.file)?;
        fs::rename(&self.temporary, &self.path)?;
        let parent = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_directory(parent)?;
        Ok(self.bytes)
    }

    /// Gives up and removes the half-written file.
    pub(crate) fn discard(self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Reads an image from its file.
pub(crate) struct Image {
    file: BufReader<File>,
    path: PathBuf,
    salt: u32,
    head: Head,
    versions: u64,
}

/// The next part of an image.
pub(crate) enum Part {
    /// Some versions.
    Versions(Vec<(Arc<str>, Version)>),
    /// The end.
    Tail(Tail),
}

impl Image {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(super::directory::io_error(format!("open {}", path.display())))?;
        let head = Head { seq: 0, revision: 0, at_ms: 0 };
        let mut image = Self { file: BufReader::new(file), path: path.to_path_buf(), salt: NO_SALT, head, versions: 0 };
        let payload = image.payload()?;
        let (salt, head) = parse_head(&payload).ok_or_else(|| image.corrupt("it does not begin like an image of this format"))?;
        image.salt = salt;
        image.head = head;
        Ok(image)
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// The next part; nothing may be asked after the tail.
    pub(crate) fn next_part(&mut self) -> Result<Part, Error> {
        let payload = self.payload()?;
        match parse_part(&payload) {
            Some(ParsedPart::Versions(versions)) => {
                self.versions += versions.len() as u64;
                Ok(Part::Versions(versions))
            }
            Some(ParsedPart::Tail { versions, tail }) if versions == self.versions => {
                let more = frame::read(&mut self.file, self.salt);
                if !matches!(more, Ok(None)) {
                    return Err(self.corrupt("something follows its end"));
                }
                Ok(Part::Tail(tail))
            }
            Some(ParsedPart::Tail { versions, .. }) => Err(self.corrupt(format!("{} versions of {versions} are there", self.versions))),
            None => Err(self.corrupt("a part of it cannot be read")),
        }
    }

    fn payload(&mut self) -> Result<Vec<u8>, Error> {
        match frame::read(&mut self.file, self.salt) {
            Ok(Some(payload)) => Ok(payload),
            Ok(None) => Err(self.corrupt("it is cut off")),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(self.corrupt(e.to_string())),
            Err(e) => Err(super::directory::io_error(format!("read {}", self.path.display()))(e)),
        }
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.display().to_string(), what: what.into() }
    }
}

fn parse_head(payload: &[u8]) -> Option<(u32, Head)> {
    let mut reader = Reader::new(payload);
    if reader.u8()? != HEAD || reader.u32()? != FORMAT {
        return None;
    }
    let salt = reader.u32()?;
    let head = Head { seq: reader.u64()?, revision: reader.u64()?, at_ms: reader.u64()? };
    (reader.is_empty() && head.revision < MAX_REVISION).then_some((salt, head))
}

enum ParsedPart {
    Versions(Vec<(Arc<str>, Version)>),
    Tail { versions: u64, tail: Tail },
}

fn parse_part(payload: &[u8]) -> Option<ParsedPart> {
    let mut reader = Reader::new(payload);
    match reader.u8()? {
        VERSIONS => {
            let mut versions = Vec::new();
            while !reader.is_empty() {
                versions.push(reader.version()?);
            }
            Some(ParsedPart::Versions(versions))
        }
        TAIL => {
            let versions = reader.u64()?;
            let tail = Tail { floor: reader.u64()?, durable: reader.u64()? };
            (reader.is_empty() && tail.durable < MAX_REVISION).then_some(ParsedPart::Tail { versions, tail })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_payload_is_a_part_or_refused(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_head(&data);
            let _ = parse_part(&data);
        }
    }
}
