//! Container logs in the CRI's format: `<time> <stream> <tags> <text>` per line.

mod follow;
mod line;
pub mod rotate;
mod tail;

pub use follow::{Ended, copy};

use std::path::Path;

use k8s_openapi::jiff::Timestamp;

/// Which streams are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Streams {
    /// Both.
    #[default]
    All,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What of a log is wanted.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether to go on until the container ends.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only lines from this time on.
    pub since: Option<Timestamp>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// Whether each line starts with its time.
    pub timestamps: bool,
    /// Which streams.
    pub streams: Streams,
}

/// The last lines of a log as one text, for termination messages; an error reads as its text.
pub fn last_lines(path: &Path, lines: u64, max_bytes: usize) -> String {
    let options = Options { tail: Some(lines), ..Options::default() };
    match tail::read(path, &options) {
        Err(error) => format!("Error on reading termination message from logs: {error}"),
        Ok(bytes) => {
            let from = bytes.len().saturating_sub(max_bytes);
            String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
        }
    }
}
