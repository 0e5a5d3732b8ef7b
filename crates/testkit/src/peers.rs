//! Where the programs under test and their peers are.

use std::path::{Path, PathBuf};

/// Which kubectl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kubectl {
    /// The newest real one.
    V1_35,
    /// An older client.
    V1_32,
}

/// The `ferry` under test: `$FERRY_BIN`, or the one that was built beside this test.
///
/// # Panics
/// If it is not there.
pub fn ferry() -> PathBuf {
    if let Some(path) = std::env::var_os("FERRY_BIN") {
        return existing(PathBuf::from(path), "cargo build");
    }
    let me = std::env::current_exe().unwrap();
    let beside = me.ancestors().skip(1).take(3).map(|folder| folder.join("ferry")).find(|p| p.is_file());
    beside.unwrap_or_else(|| panic!("no ferry beside {}; run: cargo build", me.display()))
}

/// The real kubectl.
///
/// # Panics
/// If it was not fetched.
pub fn kubectl(which: Kubectl) -> PathBuf {
    existing(folder(which).join("kubectl"), "cargo xtask test")
}

/// The real helm.
///
/// # Panics
/// If it was not fetched.
pub fn helm() -> PathBuf {
    existing(folder(Kubectl::V1_35).join("helm"), "cargo xtask test")
}

/// Debian's static busybox.
///
/// # Panics
/// If it is not installed.
pub fn busybox() -> PathBuf {
    let places = ["/bin/busybox", "/usr/bin/busybox"];
    let found = places.iter().map(PathBuf::from).find(|p| p.is_file());
    found.expect("the tests need busybox-static; cargo xtask test installs it")
}

/// A file of this repository, by its path from the root.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).canonicalize().unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn folder(which: Kubectl) -> PathBuf {
    let minor = match which {
        Kubectl::V1_35 => "1.35",
        Kubectl::V1_32 => "1.32",
    };
    cache().join(format!("kubectl-{minor}"))
}

/// As `cargo xtask test` chooses it.
fn cache() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let found = from("FERRY_TEST_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|c| c.join("ferry-test")))
        .or_else(|| from("HOME").map(|h| h.join(".cache/ferry-test")));
    found.expect("set FERRY_TEST_CACHE to the folder that holds kubectl")
}

fn existing(path: PathBuf, remedy: &str) -> PathBuf {
    assert!(path.is_file(), "{} is not there; run: {remedy}", path.display());
    path
}
