//! One line of a log.

use k8s_openapi::jiff::Timestamp;

use super::{Options, Streams};

/// A line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: &'a str,
    pub(super) stream: &'a str,
    /// Whether the text goes on in the next line.
    pub(super) partial: bool,
    pub(super) text: &'a [u8],
}

/// Takes a line without its line feed apart; `None` when it is none.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tags = std::str::from_utf8(parts.next()?).ok()?;
    let text = parts.next().unwrap_or_default();
    if !matches!(stream, "stdout" | "stderr") {
        return None;
    }
    Some(Line { time, stream, partial: tags.split(':').next() == Some("P"), text })
}

/// Turns lines into what the client gets.
pub(super) struct Printer<'a> {
    options: &'a Options,
    /// Whether the next text starts a line of the client's.
    fresh: bool,
    written: u64,
}

/// Whether more may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    Yes,
    /// The limit of bytes is reached.
    No,
}

impl<'a> Printer<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self { options, fresh: true, written: 0 }
    }

    /// Appends what the client gets of one line. Lines in a foreign format are left out.
    pub(super) fn print(&mut self, raw: &[u8], out: &mut Vec<u8>) -> More {
        let Some(line) = parse(raw) else { return More::Yes };
        let wanted = match self.options.streams {
            Streams::All => true,
            Streams::Stdout => line.stream == "stdout",
            Streams::Stderr => line.stream == "stderr",
        };
        let old = self.options.since.is_some_and(|since| line.time.parse::<Timestamp>().is_ok_and(|at| at < since));
        if !wanted || old {
            return More::Yes;
        }
        let start = out.len();
        if self.options.timestamps && self.fresh {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if !line.partial {
            out.push(b'\n');
        }
        self.fresh = !line.partial;
        let Some(limit) = self.options.limit_bytes else { return More::Yes };
        let left = usize::try_from(limit.saturating_sub(self.written)).unwrap_or(usize::MAX);
        out.truncate(start.saturating_add(left));
        self.written += (out.len() - start) as u64;
        if self.written >= limit { More::No } else { More::Yes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn print(options: &Options, lines: &[&str]) -> String {
        let mut printer = Printer::new(options);
        let mut out = Vec::new();
        for line in lines {
            if printer.print(line.as_bytes(), &mut out) == More::No {
                break;
            }
        }
        String::from_utf8(out).unwrap()
    }

    const LINES: [&str; 4] =
        ["2026-01-01T00:00:00.1Z stdout F one", "2026-01-01T00:00:01.5Z stderr P tw", "2026-01-01T00:00:01.6Z stderr F o", "junk"];

    #[test]
    fn lines_are_joined_filtered_and_cut() {
        assert_eq!(print(&Options::default(), &LINES), "one\ntwo\n");
        assert_eq!(
            print(&Options { timestamps: true, ..Options::default() }, &LINES),
            "2026-01-01T00:00:00.1Z one\n2026-01-01T00:00:01.5Z two\n"
        );
        assert_eq!(print(&Options { streams: Streams::Stdout, ..Options::default() }, &LINES), "one\n");
        assert_eq!(print(&Options { since: Some("2026-01-01T00:00:01Z".parse().unwrap()), ..Options::default() }, &LINES), "two\n");
        assert_eq!(print(&Options { limit_bytes: Some(5), ..Options::default() }, &LINES), "one\nt");
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&line);
        }
    }
}
