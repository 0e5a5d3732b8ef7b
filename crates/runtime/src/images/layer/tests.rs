//! Layers as they should be, and as an attacker would make them. Needs root, as unpacking does.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use tar::{Builder, EntryType, Header};

use super::*;

enum Item<'a> {
    Folder(&'a str),
    File(&'a str, &'a str, u32),
    Link(&'a str, &'a str),
    Hard(&'a str, &'a str),
}

fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut out = Builder::new(Vec::new());
    for item in items {
        let (path, kind, data, mode, link) = match item {
            Item::Folder(p) => (p, EntryType::Directory, "", 0o755, None),
            Item::File(p, data, mode) => (p, EntryType::Regular, *data, *mode, None),
            Item::Link(p, to) => (p, EntryType::Symlink, "", 0o777, Some(to)),
            Item::Hard(p, to) => (p, EntryType::Link, "", 0o644, Some(to)),
        };
        let mut header = Header::new_gnu();
        // Written raw, since the tar crate itself refuses to write climbing paths.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        if let Some(to) = link {
            header.as_gnu_mut().unwrap().linkname[..to.len()].copy_from_slice(to.as_bytes());
        }
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(mode);
        header.set_uid(1000);
        header.set_gid(1001);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        out.append(&header, data.as_bytes()).unwrap();
    }
    out.into_inner().unwrap()
}

fn unpacked(items: &[Item<'_>]) -> (tempfile::TempDir, Result<(), Error>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let result = unpack("sha256:test", tar(items).as_slice(), &root);
    (dir, result)
}

#[test]
fn owners_modes_times_and_setuid_survive() {
    let (dir, result) = unpacked(&[Item::Folder("usr/"), Item::File("usr/su", "x", 0o4755), Item::Hard("usr/su2", "usr/su")]);
    result.unwrap();
    let meta = fs::metadata(dir.path().join("root/usr/su")).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (1000, 1001, 0o4755));
    assert_eq!(fs::metadata(dir.path().join("root/usr")).unwrap().mtime(), 1_700_000_000);
    assert_eq!(meta.ino(), fs::metadata(dir.path().join("root/usr/su2")).unwrap().ino());
}

#[test]
fn deletions_become_overlay_whiteouts() {
    let (dir, result) = unpacked(&[Item::File("etc/.wh.passwd", "", 0), Item::Folder("var/"), Item::File("var/.wh..wh..opq", "", 0)]);
    result.unwrap();
    let meta = fs::symlink_metadata(dir.path().join("root/etc/passwd")).unwrap();
    assert!(meta.file_type().is_char_device());
    assert_eq!(meta.rdev(), 0);
    let mut value = [0u8; 4];
    let n = rustix::fs::getxattr(dir.path().join("root/var"), "trusted.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..n], b"y");
}

#[test]
fn paths_that_climb_are_refused() {
    for path in ["../evil", "a/../../evil", "/../evil"] {
        let (dir, result) = unpacked(&[Item::File(path, "x", 0o644)]);
        assert!(result.unwrap_err().to_string().contains("leaves the image"), "{path}");
        assert!(!dir.path().join("evil").exists());
    }
}

#[test]
fn links_never_lead_out() {
    // A link to the outside, then a file through it: it must land inside the image, at the same path below its root.
    let (dir, result) = unpacked(&[Item::Link("out", ".."), Item::File("out/evil", "x", 0o644)]);
    result.unwrap();
    assert!(!dir.path().join("evil").exists());
    assert!(dir.path().join("root/evil").exists());

    let (_dir, result) = unpacked(&[Item::Hard("shadow", "../../../../etc/hostname")]);
    assert!(result.is_err());
}

#[test]
fn a_later_entry_replaces_an_earlier_one_without_following_it() {
    let (dir, result) = unpacked(&[
        Item::File("victim", "old", 0o600),
        Item::Link("x", "victim"),
        Item::File("x", "new", 0o644),
        Item::Folder("d/"),
        Item::File("d/inside", "", 0o644),
        Item::File("d", "now a file", 0o644),
    ]);
    result.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("root/victim")).unwrap(), "old");
    assert_eq!(fs::read_to_string(dir.path().join("root/x")).unwrap(), "new");
    assert_eq!(fs::read_to_string(dir.path().join("root/d")).unwrap(), "now a file");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_archives_never_panic(at in 0usize..2048, byte: u8) {
        let mut data = tar(&[Item::Folder("a/"), Item::File("a/b", "hello", 0o644), Item::Link("c", "a/b"), Item::Hard("d", "a/b")]);
        let at = at % data.len();
        data[at] = byte;
        let dir = tempfile::tempdir().unwrap();
        let _ = unpack("sha256:test", data.as_slice(), dir.path());
    }
}
