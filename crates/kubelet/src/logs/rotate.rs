//! Keeps logs from growing without bound: a log that is too long is moved away, and the oldest of those removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cri::{RuntimeService, v1};

/// A longer log is moved away.
const MAX_BYTES: u64 = 10 << 20;
/// Files kept of one container, the one being written among them.
const MAX_FILES: usize = 5;

/// Moves one running container's log away if it is too long, and has the runtime begin a new one.
pub async fn check(runtime: &dyn RuntimeService, container_id: &str, path: &Path, now: &str) -> io::Result<()> {
    if fs::metadata(path)?.len() < MAX_BYTES {
        return Ok(());
    }
    let moved = PathBuf::from(format!("{}.{now}", path.display()));
    fs::rename(path, &moved)?;
    let reopened = runtime.reopen_container_log(v1::ReopenContainerLogRequest { container_id: container_id.to_owned() }).await;
    if let Err(error) = reopened {
        // The runtime goes on writing to the moved file, so it gets its name back.
        fs::rename(&moved, path)?;
        return Err(io::Error::other(error.to_string()));
    }
    drop_oldest(path)
}

fn drop_oldest(path: &Path) -> io::Result<()> {
    let prefix = format!("{}.", path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default());
    let parent = path.parent().unwrap_or(path);
    let mut moved: Vec<PathBuf> =
        fs::read_dir(parent)?.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(&prefix)).map(|e| e.path()).collect();
    // Their names end in the time, so the order of names is that of age.
    moved.sort();
    let extra = moved.len().saturating_sub(MAX_FILES - 1);
    moved.into_iter().take(extra).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for n in 0..7 {
            fs::write(dir.path().join(format!("0.log.2026010{n}")), "").unwrap();
        }
        fs::write(dir.path().join("1.log"), "").unwrap();
        drop_oldest(&path).unwrap();
        let mut left: Vec<String> =
            fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        left.sort();
        assert_eq!(left, ["0.log.20260103", "0.log.20260104", "0.log.20260105", "0.log.20260106", "1.log"]);
    }
}
