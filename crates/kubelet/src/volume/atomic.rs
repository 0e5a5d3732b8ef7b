//! Files that change all at once: readers see either the old set or the new one (the layout of upstream's AtomicWriter).
//!
//! Files live in a directory `..<time>.<random>`; `..data` is a link to it that is replaced by a rename; each top-level name
//! is a link through `..data`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Component, Path};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
/// The longest path in a volume.
const PATH_MAX: usize = 4096;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub data: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner, if not root.
    pub owner: Option<u32>,
}

/// Files by relative path.
pub type Files = BTreeMap<String, File>;

/// Makes `dir` hold exactly `files`. `unique` names the new set; `finish` is called on it before it becomes visible.
pub fn write(dir: &Path, files: &Files, unique: &str, finish: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    files.keys().try_for_each(|path| check(path))?;
    let old = fs::read_link(dir.join(DATA)).ok();
    if old.as_ref().is_some_and(|old| holds(&dir.join(old), files)) {
        return Ok(());
    }
    let name = format!("..{}.{unique}", jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S"));
    let new = dir.join(&name);
    fs::create_dir(&new)?;
    let made = fill(&new, files).and_then(|()| finish(&new)).and_then(|()| publish(dir, &name, files));
    if made.is_err() {
        let _ = fs::remove_dir_all(&new);
        return made;
    }
    remove_stale(dir, files)?;
    // The set before is no longer reachable by any name.
    old.map_or(Ok(()), |old| fs::remove_dir_all(dir.join(old)))
}

fn check(path: &str) -> io::Result<()> {
    let bad = |why: &str| Err(io::Error::other(format!("invalid path {path:?}: {why}")));
    if path.is_empty() || path.len() > PATH_MAX {
        return bad("must be 1 to 4096 characters long");
    }
    if path.starts_with("..") {
        return bad("must not start with '..'");
    }
    if !Path::new(path).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return bad("must be a relative path not containing the '..' path");
    }
    Ok(())
}

fn holds(dir: &Path, files: &Files) -> bool {
    let mut found = BTreeSet::new();
    if list(dir, dir, &mut found).is_err() || found.len() != files.len() {
        return false;
    }
    files.iter().all(|(path, file)| {
        let normal = Path::new(path).components().filter(|c| !matches!(c, Component::CurDir)).collect::<std::path::PathBuf>();
        found.contains(&normal) && fs::read(dir.join(&normal)).is_ok_and(|data| data == file.data)
    })
}

fn list(root: &Path, dir: &Path, found: &mut BTreeSet<std::path::PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            list(root, &path, found)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            found.insert(relative.to_owned());
        }
    }
    Ok(())
}

fn fill(dir: &Path, files: &Files) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        let place = dir.join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut opened = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&place)?;
        io::Write::write_all(&mut opened, &file.data)?;
        // The mode given at creation is subject to the process's mask.
        opened.set_permissions(fs::Permissions::from_mode(file.mode & 0o7777))?;
        if let Some(owner) = file.owner {
            chown(&place, Some(owner), None)?;
        }
    }
    Ok(())
}

fn publish(dir: &Path, name: &str, files: &Files) -> io::Result<()> {
    for top in tops(files) {
        let link = dir.join(&top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(&top), link)?;
        }
    }
    let new = dir.join(NEW_DATA);
    if fs::symlink_metadata(&new).is_ok() {
        fs::remove_file(&new)?;
    }
    symlink(name, &new)?;
    fs::rename(new, dir.join(DATA))
}

fn tops(files: &Files) -> BTreeSet<String> {
    let top = |path: &String| {
        Path::new(path).components().find_map(|c| match c {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
    };
    files.keys().filter_map(top).collect()
}

fn remove_stale(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted = tops(files);
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(&name) {
            fs::remove_file(dir.join(&name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(rows: &[(&str, &str)]) -> Files {
        rows.iter().map(|(path, data)| ((*path).to_owned(), File { data: data.as_bytes().to_vec(), mode: 0o640, owner: None })).collect()
    }

    fn put(dir: &Path, rows: &[(&str, &str)], unique: &str) {
        write(dir, &files(rows), unique, |_| Ok(())).unwrap();
    }

    #[test]
    fn sets_replace_each_other_whole() {
        let dir = tempfile::tempdir().unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).ok();
        put(dir.path(), &[("a", "1"), ("d/b", "2")], "1");
        assert_eq!((read("a"), read("d/b")), (Some("1".into()), Some("2".into())));
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_link(dir.path().join("a")).unwrap(), Path::new("..data/a"));
        let before = fs::read_link(dir.path().join(DATA)).unwrap();
        put(dir.path(), &[("a", "1"), ("d/b", "2")], "2");
        assert_eq!(fs::read_link(dir.path().join(DATA)).unwrap(), before, "the same files are not written again");
        put(dir.path(), &[("a", "3")], "3");
        assert_eq!((read("a"), read("d/b")), (Some("3".into()), None));
        assert!(!dir.path().join(before).exists() && fs::symlink_metadata(dir.path().join("d")).is_err());
        put(dir.path(), &[], "4");
        assert_eq!(read("a"), None);
    }

    #[test]
    fn paths_may_not_leave() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../x", "/x", "a/../../x", "", "..x"] {
            assert!(write(dir.path(), &files(&[(path, "")]), "1", |_| Ok(())).is_err(), "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn whatever_is_accepted_stays_inside(path in "[a./]{0,12}") {
            let outer = tempfile::tempdir().unwrap();
            let dir = outer.path().join("v");
            fs::create_dir(&dir).unwrap();
            let _ = write(&dir, &files(&[(&path, "x")]), "1", |_| Ok(()));
            prop_assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
        }
    }
}
