//! Snapshots: the live data of one revision in one file, and a new store made from it.

use std::path::Path;
use std::time::UNIX_EPOCH;

use super::directory::{Directory, checkpoint_path, io_error};
use super::image::{Head, Image, Part, Tail, Writer};
use super::log::{Log, SyncFile};
use super::plan::millis;
use super::recover::FIRST_SEQ;
use super::shared::Shared;
use crate::{Error, Revision};

/// How far a restored store's revision lies past the snapshot's. Clients may know revisions after the snapshot; those
/// must be neither repeated nor look current, so that watches from them are refused and clients list again.
/// (etcd's disaster recovery guide advises the same number for `--bump-revision`.)
pub const RESTORE_REVISION_BUMP: u64 = 1_000_000_000;

/// Writes what lives now to `path`, which appears only when whole and durable. Returns the snapshot's revision.
pub(crate) fn save(shared: &Shared, path: &Path, sync: &SyncFile) -> Result<Revision, Error> {
    // Values are shared, so copying the list is short; the slow part runs without the lock.
    let (revision, live) = {
        let state = shared.read()?;
        (state.revision(), state.live())
    };
    let at_ms = shared.options.clock.now().duration_since(UNIX_EPOCH).map_or(0, millis);
    let attempted = || io_error(format!("write the snapshot {}", path.display()));
    let mut writer = Writer::create(path, Head { seq: FIRST_SEQ, revision, at_ms }).map_err(attempted())?;
    for (key, version) in &live {
        if let Err(e) = writer.version(key, version) {
            writer.discard();
            return Err(attempted()(e));
        }
    }
    writer.finish(Tail { floor: revision, durable: revision }, sync).map_err(attempted())?;
    Ok(Revision(revision))
}

/// Makes a store in `directory` (absent or empty) from a snapshot. Its history begins anew at the returned revision,
/// [`RESTORE_REVISION_BUMP`] past the snapshot's. A damaged snapshot makes no store.
pub fn restore_snapshot(snapshot: &Path, directory: &Path) -> Result<Revision, Error> {
    let sync = super::durable();
    let mut image = Image::open(snapshot)?;
    let directory = Directory::lock(directory)?;
    let listing = directory.list()?;
    if directory.format()?.is_some() || !listing.logs.is_empty() || !listing.checkpoints.is_empty() {
        let full = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "there is a store already");
        return Err(io_error(format!("restore into {}", directory.path().display()))(full));
    }
    let attempted = || io_error(format!("restore into {}", directory.path().display()));
    let revision = image.head().revision + RESTORE_REVISION_BUMP;
    let head = Head { seq: FIRST_SEQ, revision, at_ms: image.head().at_ms };
    let mut writer = Writer::create(&checkpoint_path(directory.path(), FIRST_SEQ), head).map_err(attempted())?;
    loop {
        match image.next_part() {
            Ok(Part::Tail(_)) => break,
            Ok(Part::Versions(versions)) => {
                for (key, version) in versions {
                    writer.version(&key, &version).map_err(attempted())?;
                }
            }
            Err(e) => {
                writer.discard();
                return Err(e);
            }
        }
    }
    writer.finish(Tail { floor: revision, durable: revision }, &sync).map_err(attempted())?;
    Log::create(directory.path(), FIRST_SEQ, super::Options::default().segment_bytes, sync).map_err(attempted())?;
    directory.write_format()?;
    Ok(Revision(revision))
}
