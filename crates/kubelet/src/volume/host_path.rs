//! Paths of the node, checked against the type that the volume states.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use k8s_openapi::api::core::v1::HostPathVolumeSource;

/// Checks the path's type; makes it where the type says so.
pub(super) fn check(source: &HostPathVolumeSource) -> Result<(), String> {
    let path = Path::new(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    let found = fs::metadata(path).ok().map(|m| m.file_type());
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(test);
    let want = |ok: bool, what: &str| if ok { Ok(()) } else { Err(format!("hostPath type check failed: {} is not a {what}", source.path)) };
    match kind {
        "" => Ok(()),
        "Directory" => want(is(fs::FileType::is_dir), "directory"),
        "File" => want(is(fs::FileType::is_file), "file"),
        "Socket" => want(is(|t| t.is_socket()), "socket file"),
        "CharDevice" => want(is(|t| t.is_char_device()), "character device"),
        "BlockDevice" => want(is(|t| t.is_block_device()), "block device"),
        "DirectoryOrCreate" => {
            if found.is_none() {
                fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|e| format!("making {}: {e}", source.path))?;
                return Ok(());
            }
            want(is(fs::FileType::is_dir), "directory")
        }
        "FileOrCreate" => {
            if found.is_none() {
                fs::OpenOptions::new()
                    .create_new(true)
                    .write(true)
                    .mode(0o644)
                    .open(path)
                    .map_err(|e| format!("making {}: {e}", source.path))?;
                return Ok(());
            }
            want(is(fs::FileType::is_file), "file")
        }
        other => Err(format!("hostPath type {other:?} is unknown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, kind: &str| {
            check(&HostPathVolumeSource { path: dir.path().join(name).to_string_lossy().into_owned(), type_: Some(kind.into()) })
        };
        assert!(at("no", "Directory").unwrap_err().contains("is not a directory"));
        assert!(at("made/deep", "DirectoryOrCreate").is_ok() && at("made", "Directory").is_ok());
        assert!(at("file", "FileOrCreate").is_ok() && at("file", "File").is_ok() && at("file", "Socket").is_err());
        assert!(at("anything", "").is_ok());
    }
}
