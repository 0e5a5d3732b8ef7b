//! The container log in the CRI's format: `<RFC 3339 time> <stream> <F|P> <text>`, where P says that the line goes on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::output::Channel;

/// A line longer than this is split; the parts but the last are tagged P. As containerd does it, and as the kubelet's reader expects.
const MAX_LINE: usize = 16 * 1024;

/// The log of one container.
#[derive(Debug)]
pub(super) struct Log {
    path: Option<PathBuf>,
    file: Option<File>,
    stdout: Line,
    stderr: Line,
}

/// What has come of a line that is not yet complete.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Log {
    /// Opens the log file, if there is to be one, with its folder.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut log = Self { path: path.map(Path::to_owned), file: None, stdout: Line::default(), stderr: Line::default() };
        log.reopen()?;
        Ok(log)
    }

    /// Opens the file anew under its path, after another has moved it away.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            self.file = Some(OpenOptions::new().append(true).create(true).mode(0o640).open(path)?);
        }
        Ok(())
    }

    /// Takes output of one channel. A file that cannot be written (a full disk) loses the text and stops nobody.
    pub(super) fn write(&mut self, channel: Channel, data: &[u8]) {
        let (line, name) = match channel {
            Channel::Stdout => (&mut self.stdout, "stdout"),
            Channel::Stderr => (&mut self.stderr, "stderr"),
        };
        let Some(file) = &mut self.file else { return };
        let out = line.take(data, || head(name));
        if !out.is_empty() {
            let _ = file.write_all(&out);
        }
    }

    /// Writes out an unfinished last line.
    pub(super) fn finish(&mut self) {
        for (line, name) in [(&mut self.stdout, "stdout"), (&mut self.stderr, "stderr")] {
            if let (Some(file), false) = (&mut self.file, line.0.is_empty()) {
                let mut out = Vec::new();
                entry(&mut out, &head(name), b'F', &std::mem::take(&mut line.0));
                let _ = file.write_all(&out);
            }
        }
    }
}

impl Line {
    /// Cuts `data` into log entries; what is unfinished stays for the next time.
    fn take(&mut self, data: &[u8], head: impl FnOnce() -> String) -> Vec<u8> {
        let head = head();
        let mut out = Vec::with_capacity(data.len() + 64);
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let mut rest = text;
            while self.0.len() + rest.len() > MAX_LINE {
                let (part, after) = rest.split_at(MAX_LINE - self.0.len());
                self.0.extend_from_slice(part);
                entry(&mut out, &head, b'P', &self.0);
                self.0.clear();
                rest = after;
            }
            if ends && self.0.is_empty() {
                entry(&mut out, &head, b'F', rest);
            } else {
                self.0.extend_from_slice(rest);
                if ends {
                    entry(&mut out, &head, b'F', &self.0);
                    self.0.clear();
                }
            }
        }
        out
    }
}

fn head(stream: &str) -> String {
    format!("{:.9} {stream} ", jiff::Timestamp::now())
}

fn entry(out: &mut Vec<u8>, head: &str, tag: u8, text: &[u8]) {
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(&[tag, b' ']);
    out.extend_from_slice(text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut line = Line::default();
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend(line.take(chunk, || "T stdout ".into()));
        }
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_are_joined_across_reads_and_empty_ones_kept() {
        assert_eq!(lines(&[b"ab", b"c\n\nx"]), ["T stdout F abc", "T stdout F "]);
    }

    #[test]
    fn a_long_line_is_split_and_tagged() {
        let long = "y".repeat(MAX_LINE + 10) + "\n";
        let got = lines(&[long.as_bytes()]);
        assert_eq!(got.len(), 2);
        assert!(got[0].starts_with("T stdout P ") && got[0].len() == "T stdout P ".len() + MAX_LINE);
        assert_eq!(got[1], format!("T stdout F {}", "y".repeat(10)));
        let exact = "z".repeat(MAX_LINE) + "\n";
        assert_eq!(lines(&[exact.as_bytes()]).len(), 1, "a full line is no partial one");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(chunks in prop::collection::vec("[a\n]{0,20000}", 0..6)) {
            let mut line = Line::default();
            let mut out = Vec::new();
            for chunk in &chunks {
                out.extend(line.take(chunk.as_bytes(), || "T s ".into()));
            }
            let mut text = String::new();
            for entry in String::from_utf8(out).unwrap().lines() {
                let entry = entry.strip_prefix("T s ").unwrap();
                text.push_str(&entry[2..]);
                if entry.starts_with('F') {
                    text.push('\n');
                }
            }
            text.push_str(std::str::from_utf8(&line.0).unwrap());
            prop_assert_eq!(text, chunks.concat());
        }
    }

    #[test]
    fn rotation_goes_on_in_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pod/0.log");
        let mut log = Log::open(Some(&path)).unwrap();
        log.write(Channel::Stdout, b"one\n");
        fs::rename(&path, dir.path().join("pod/0.log.1")).unwrap();
        log.reopen().unwrap();
        log.write(Channel::Stderr, b"two");
        log.finish();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with(" stderr F two\n"), "{text}");
    }
}
