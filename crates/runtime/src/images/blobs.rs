//! Content by digest: a blob is on disk only under the digest that its bytes have.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::Error;
use super::reference::is_digest;

/// The folder of blobs.
#[derive(Clone, Debug)]
pub(super) struct Blobs {
    dir: PathBuf,
}

/// A blob on its way in; it takes its place with [`Incoming::finish`] and is removed when dropped before.
pub(super) struct Incoming {
    file: tempfile::NamedTempFile,
    hash: Sha256,
    written: u64,
    limit: u64,
    target: PathBuf,
    digest: String,
}

impl Blobs {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let dir = root.join("blobs/sha256");
        fs::create_dir_all(&dir).map_err(Error::io("creating", &dir))?;
        Ok(Self { dir })
    }

    /// Where a blob is or would be. The digest has been checked to be one, so it cannot lead elsewhere.
    pub(super) fn path(&self, digest: &str) -> Result<PathBuf, Error> {
        let malformed = || Error::Malformed { what: "digest", image: digest.to_owned(), why: "not a sha256 digest".into() };
        if !is_digest(digest) {
            return Err(malformed());
        }
        digest.strip_prefix("sha256:").map(|hex| self.dir.join(hex)).ok_or_else(malformed)
    }

    pub(super) fn has(&self, digest: &str) -> bool {
        self.path(digest).is_ok_and(|path| path.exists())
    }

    pub(super) fn remove(&self, digest: &str) -> Result<(), Error> {
        let path = self.path(digest)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", path)(e)),
            _ => Ok(()),
        }
    }

    /// A whole small blob, checked again against its digest.
    pub(super) fn read(&self, digest: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let path = self.path(digest)?;
        let mut data = Vec::new();
        let file = File::open(&path).map_err(Error::io("reading", &path))?;
        file.take(limit + 1).read_to_end(&mut data).map_err(Error::io("reading", &path))?;
        if data.len() as u64 > limit {
            return Err(Error::TooLarge { what: digest.to_owned(), limit });
        }
        let actual = digest_of(&data);
        if actual == digest { Ok(data) } else { Err(Error::Digest { expected: digest.to_owned(), actual }) }
    }

    /// Stores a blob whose bytes are at hand and returns its digest.
    pub(super) fn put(&self, data: &[u8]) -> Result<String, Error> {
        let digest = digest_of(data);
        if !self.has(&digest) {
            let mut incoming = self.begin(&digest, data.len() as u64)?;
            incoming.append(data)?;
            incoming.finish()?;
        }
        Ok(digest)
    }

    /// Starts to receive a blob of at most `limit` bytes.
    pub(super) fn begin(&self, digest: &str, limit: u64) -> Result<Incoming, Error> {
        let target = self.path(digest)?;
        let file =
            tempfile::Builder::new().prefix(".incoming-").tempfile_in(&self.dir).map_err(Error::io("creating a file in", &self.dir))?;
        Ok(Incoming { file, hash: Sha256::new(), written: 0, limit, target, digest: digest.to_owned() })
    }
}

impl Incoming {
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), Error> {
        self.written += data.len() as u64;
        if self.written > self.limit {
            return Err(Error::TooLarge { what: self.digest.clone(), limit: self.limit });
        }
        self.hash.update(data);
        self.file.write_all(data).map_err(Error::io("writing", &self.target))
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        let actual = format!("sha256:{}", hex::encode(self.hash.finalize()));
        if actual != self.digest {
            return Err(Error::Digest { expected: self.digest, actual });
        }
        self.file.as_file().sync_all().map_err(Error::io("syncing", &self.target))?;
        self.file.persist(&self.target).map_err(|e| Error::io("writing", &self.target)(e.error))?;
        Ok(())
    }
}

pub(super) fn digest_of(data: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_does_not_match_its_digest_never_gets_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path()).unwrap();
        let digest = digest_of(b"right");
        let mut incoming = blobs.begin(&digest, 100).unwrap();
        incoming.append(b"wrong").unwrap();
        assert!(incoming.finish().unwrap_err().to_string().contains(&digest));
        assert!(!blobs.has(&digest));
        assert_eq!(blobs.put(b"right").unwrap(), digest);
        assert_eq!(blobs.read(&digest, 10).unwrap(), b"right");
        let mut large = blobs.begin(&digest, 3).unwrap();
        assert!(large.append(b"right").is_err());
        assert!(blobs.path("sha256:../../etc").is_err());
    }
}
