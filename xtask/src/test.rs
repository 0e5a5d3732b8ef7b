//! `cargo xtask test`: everything that must hold, on one machine, with nothing left out in silence.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};

use crate::{command, peers, tidy};

/// Installs what tests need, then checks the house rules and runs all tests. Further arguments go to `cargo nextest run`.
///
/// # Errors
/// If a test fails, or if this machine cannot run the tests that need root.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    ensure_privileged()?;
    peers::install()?;
    tidy::run(&[])?;
    println!("test: building");
    // In one build with the tests, so that both come out of the same features and nothing is compiled twice.
    command::cargo(&["build", "--workspace", "--all-targets"])?;
    let mut nextest = Command::new(command::cargo_path());
    nextest.args(["nextest", "run", "--workspace", "--no-fail-fast"]).args(args).current_dir(command::root());
    nextest.env(peers::CACHE_VARIABLE, peers::cache()?).env("FERRY_BIN", command::binaries("debug")?.join("ferry"));
    let status = nextest.status().context("starting cargo nextest")?;
    ensure!(status.success(), "the tests did not all pass, see above");
    Ok(())
}

/// Tests of pods and networks need root and namespaces. Without them a run would prove little, so it is refused.
fn ensure_privileged() -> anyhow::Result<()> {
    if !command::is_root() {
        bail!("the tests start containers and networks, for which they need root; run this as root");
    }
    for namespace in ["--net", "--mount", "--pid"] {
        let mut unshare = Command::new("unshare");
        let made = unshare.args([namespace, "--fork", "true"]).stdin(Stdio::null()).status()?;
        ensure!(made.success(), "this machine refuses to make a namespace (unshare {namespace}), so tests of pods cannot run here");
    }
    Ok(())
}
