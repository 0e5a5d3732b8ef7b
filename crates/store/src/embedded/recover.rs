//! Opening: the newest checkpoint, then the log after it. Nothing on the disk changes before all of it has been read
//! and found whole, so a damaged store stays as it was found.

use std::fs;
use std::path::Path;

use super::checkpoint::Files;
use super::directory::{Directory, Listing, checkpoint_path, io_error, log_path, sync_directory};
use super::image::{Image, Part, Tail};
use super::log::{self, Commit, Log, Segment, SyncFile};
use super::options::Options;
use super::plan::millis;
use super::state::{Loader, State};
use crate::Error;

/// A store as read from its directory, ready for the committer.
pub(crate) struct Recovered {
    pub(crate) state: State,
    pub(crate) log: Log,
    pub(crate) files: Files,
    /// The time of the last commit.
    pub(crate) last_ms: u64,
}

/// The number of the first log segment.
pub(crate) const FIRST_SEQ: u64 = 1;

/// Reads the store in the directory, or makes a new one where none is.
pub(crate) fn recover(directory: &Directory, options: &Options, sync: &SyncFile) -> Result<Recovered, Error> {
    let format = directory.format()?;
    let listing = directory.list()?;
    if format.is_none() {
        return create(directory, &listing, options, sync);
    }
    let mut replay = Replay::begin(directory, &listing, options)?;
    let segments = replay.logs(&listing)?;
    let Replay { mut state, tail, last_ms, checkpoint, first_seq, .. } = replay;
    let Some((last, sealed)) = segments.split_last() else { return Err(directory.corrupt("its log is missing")) };
    if state.revision() < tail.durable {
        let what = format!("revision {} was committed, but the log ends at {}", tail.durable, state.revision());
        return Err(directory.corrupt(what));
    }
    state.raise_floor(tail.floor);
    let now_ms = options.clock.now().duration_since(std::time::UNIX_EPOCH).map_or(0, millis);
    state.evict(options.limits(), now_ms, usize::MAX);
    let attempted = || io_error(format!("resume the log of {}", directory.path().display()));
    let log = Log::resume(directory.path(), last, options.segment_bytes, sync.clone()).map_err(attempted())?;
    remove_leftovers(directory.path(), &listing, first_seq, checkpoint.is_some()).map_err(attempted())?;
    let sealed_bytes = sealed.iter().map(|s| s.kept).sum();
    let files = Files { oldest_log: first_seq, last_checkpoint: checkpoint, sealed_bytes };
    Ok(Recovered { state, log, files, last_ms })
}

fn create(directory: &Directory, listing: &Listing, options: &Options, sync: &SyncFile) -> Result<Recovered, Error> {
    // Making a store was interrupted if there is at most an empty first segment. Anything more is somebody's data.
    let fresh = listing.checkpoints.is_empty() && listing.logs.iter().all(|seq| *seq == FIRST_SEQ);
    let first = log_path(directory.path(), FIRST_SEQ);
    let attempted = || io_error(format!("create a store in {}", directory.path().display()));
    let empty = !first.exists() || {
        let data = fs::read(&first).map_err(attempted())?;
        log::read_segment(FIRST_SEQ, &data, log::Tail::MustBeWhole, |_| Err("not empty".into())).is_ok()
    };
    if !fresh || !empty {
        return Err(directory.corrupt("it has data but no FORMAT file"));
    }
    let log = Log::create(directory.path(), FIRST_SEQ, options.segment_bytes, sync.clone()).map_err(attempted())?;
    directory.write_format()?;
    let files = Files { oldest_log: FIRST_SEQ, last_checkpoint: None, sealed_bytes: 0 };
    Ok(Recovered { state: State::default(), log, files, last_ms: 0 })
}

struct Replay<'a> {
    directory: &'a Directory,
    options: &'a Options,
    state: State,
    tail: Tail,
    last_ms: u64,
    checkpoint: Option<(u64, u64)>,
    first_seq: u64,
}

impl<'a> Replay<'a> {
    /// Loads the newest checkpoint. An older one is no way out: the log it needs is gone.
    fn begin(directory: &'a Directory, listing: &Listing, options: &'a Options) -> Result<Self, Error> {
        let tail = Tail { floor: 0, durable: 0 };
        let mut this = Self { directory, options, state: State::default(), tail, last_ms: 0, checkpoint: None, first_seq: FIRST_SEQ };
        let Some(&seq) = listing.checkpoints.last() else { return Ok(this) };
        let path = checkpoint_path(directory.path(), seq);
        let bytes = fs::metadata(&path).map_err(io_error(format!("look at {}", path.display())))?.len();
        let mut image = Image::open(&path)?;
        let head = image.head();
        if head.seq != seq {
            return Err(image.corrupt(format!("it is checkpoint {}", head.seq)));
        }
        let mut loader = Loader::default();
        this.tail = loop {
            match image.next_part()? {
                Part::Tail(tail) => break tail,
                Part::Versions(versions) => {
                    for (key, version) in versions {
                        loader.version(key, version).map_err(|e| image.corrupt(e))?;
                    }
                }
            }
        };
        this.state = loader.finish(head.revision, this.tail.floor, head.at_ms).map_err(|e| image.corrupt(e))?;
        (this.last_ms, this.checkpoint, this.first_seq) = (head.at_ms, Some((seq, bytes)), seq);
        Ok(this)
    }

    fn logs(&mut self, listing: &Listing) -> Result<Vec<Segment>, Error> {
        let wanted: Vec<u64> = listing.logs.iter().copied().filter(|seq| *seq >= self.first_seq).collect();
        let mut segments = Vec::new();
        for (seq, expected) in wanted.iter().copied().zip(self.first_seq..) {
            if seq != expected {
                return Err(self.directory.corrupt(format!("log segment {expected} is missing")));
            }
            let path = log_path(self.directory.path(), seq);
            let data = fs::read(&path).map_err(io_error(format!("read {}", path.display())))?;
            let tail = if Some(&seq) == wanted.last() { log::Tail::MayBeTorn } else { log::Tail::MustBeWhole };
            let read = log::read_segment(seq, &data, tail, |commit| self.commit(commit));
            let corrupt = |what| Error::Corrupt { path: path.display().to_string(), what };
            segments.push(read.map_err(corrupt)?);
        }
        Ok(segments)
    }

    fn commit(&mut self, commit: Commit) -> Result<(), String> {
        self.last_ms = self.last_ms.max(commit.at_ms);
        for (key, version) in commit.changes {
            let expected = self.state.revision() + 1;
            if version.modified != expected {
                return Err(format!("revision {} stands where {expected} belongs", version.modified));
            }
            self.state.apply(key, version, self.last_ms);
        }
        // Keeps the memory of a long log within the window; what the clock says comes later.
        self.state.evict(self.options.limits(), self.last_ms, usize::MAX);
        Ok(())
    }
}

/// Removes what the checkpoint stands for and what interrupted writes left.
fn remove_leftovers(directory: &Path, listing: &Listing, first_seq: u64, has_checkpoint: bool) -> std::io::Result<()> {
    let old_logs = listing.logs.iter().filter(|seq| **seq < first_seq).map(|seq| log_path(directory, *seq));
    let old_checkpoints = listing.checkpoints.iter().filter(|seq| has_checkpoint && **seq < first_seq);
    let old_checkpoints = old_checkpoints.map(|seq| checkpoint_path(directory, *seq));
    let leftovers: Vec<_> = old_logs.chain(old_checkpoints).chain(listing.temporary.iter().cloned()).collect();
    for path in &leftovers {
        fs::remove_file(path)?;
    }
    if leftovers.is_empty() { Ok(()) } else { sync_directory(directory) }
}
