//! `cargo xtask bench`: builds what is measured and what measures, both as released, and lets the latter speak.

use std::process::Command;

use anyhow::bail;

use crate::{command, peers};

/// Prints figures as JSON on standard output; progress goes to standard error.
///
/// # Errors
/// If something cannot be built or measured.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    if !command::is_root() {
        bail!("the benchmark starts a node, for which it needs root");
    }
    command::cargo(&["build", "--release", "--package", "ferry"])?;
    let mut bench = Command::new(command::cargo_path());
    bench.args(["run", "--quiet", "--release", "--package", "testkit", "--example", "ferry-bench", "--"]).args(args);
    bench.env(peers::CACHE_VARIABLE, peers::cache()?).env("FERRY_BIN", command::binaries("release")?.join("ferry"));
    command::succeed(bench.current_dir(command::root()))
}
