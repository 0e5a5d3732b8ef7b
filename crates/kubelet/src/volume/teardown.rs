//! Takes a pod's files away, mounts first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};

/// Unmounts all below the pod's directory and removes it. Host paths are never below it. Idempotent.
pub fn remove(pod_dir: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mut below = below(&mounts, pod_dir);
    // The deepest first.
    below.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    for path in below {
        unmount(&path, UnmountFlags::DETACH)?;
    }
    match fs::remove_dir_all(pod_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The mount points of a `mountinfo` text that are below a directory.
fn below(mountinfo: &str, dir: &Path) -> Vec<PathBuf> {
    let point = |line: &str| line.split(' ').nth(4).map(|text| PathBuf::from(unescaped(text)));
    mountinfo.lines().filter_map(point).filter(|path| path != dir && path.starts_with(dir)).collect()
}

/// The kernel writes blanks and backslashes as octal escapes.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")].iter().fold(text.to_owned(), |t, (from, to)| t.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_below_a_directory_are_found() {
        let text = "1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /d/p/v\\040x rw - tmpfs t rw\n3 1 0:6 / /d/pq rw - tmpfs t rw\n";
        assert_eq!(below(text, Path::new("/d/p")), [PathBuf::from("/d/p/v x")]);
    }
}
