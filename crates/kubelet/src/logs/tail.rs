//! The end of a log.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::Options;
use super::line::{More, Printer};

const BLOCK: u64 = 64 << 10;

/// Where the last `lines` lines of a file begin.
pub(super) fn offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let (mut found, mut last) = (0, true);
    while end > 0 {
        let from = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(from))?;
        let mut block = Vec::new();
        file.take(end - from).read_to_end(&mut block)?;
        for (at, byte) in block.iter().enumerate().rev() {
            // The line feed at the very end closes the last line.
            if *byte == b'\n' && !std::mem::replace(&mut last, false) {
                found += 1;
                if found == lines {
                    return Ok(from + at as u64 + 1);
                }
            }
            last = false;
        }
        end = from;
    }
    Ok(0)
}

/// What the options ask of a log that does not grow. Meant for small tails: all is held in memory.
pub(super) fn read(path: &Path, options: &Options) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let from = options.tail.map_or(Ok(0), |lines| offset(&mut file, lines))?;
    file.seek(SeekFrom::Start(from))?;
    let mut raw = Vec::new();
    file.read_to_end(&mut raw)?;
    let (mut printer, mut out) = (Printer::new(options), Vec::new());
    for line in raw.split(|b| *b == b'\n') {
        if printer.print(line, &mut out) == More::No {
            break;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let text: String = (0..5000).map(|n| format!("2026-01-01T00:00:00Z stdout F line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let tail = |lines| String::from_utf8(read(&path, &Options { tail: Some(lines), ..Options::default() }).unwrap()).unwrap();
        assert_eq!(tail(2), "line 4998\nline 4999\n");
        assert_eq!(tail(0), "");
        assert_eq!(tail(10_000).lines().count(), 5000);
        assert_eq!(tail(4000).lines().count(), 4000);
        assert_eq!(super::super::last_lines(&path, 2, 5), "4999\n");
    }
}
