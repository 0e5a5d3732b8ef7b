//! Starting other programs: their output goes to the terminal, their failure is an error that names them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Runs a program in the workspace's folder.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(crate) fn run(program: &str, args: &[&str]) -> anyhow::Result<()> {
    succeed(Command::new(program).args(args).current_dir(root()))
}

/// Runs the cargo that started this program.
///
/// # Errors
/// As for [`run`].
pub(crate) fn cargo(args: &[&str]) -> anyhow::Result<()> {
    run(&cargo_path(), args)
}

/// Runs a prepared command.
///
/// # Errors
/// As for [`run`].
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}

/// Runs a program in the workspace's folder and returns what it printed.
///
/// # Errors
/// As for [`run`].
pub(crate) fn output(program: &str, args: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("reading what {command:?} printed"))
}

/// The cargo that started this program.
pub(crate) fn cargo_path() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Whether a program is found on the search path.
pub(crate) fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// Where cargo puts the binaries of a profile (`debug`, `release`) for the workspace's own target.
///
/// # Errors
/// If cargo does not say.
pub(crate) fn binaries(profile: &str) -> anyhow::Result<PathBuf> {
    let metadata = output(&cargo_path(), &["metadata", "--format-version", "1", "--no-deps", "--offline"])?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("reading cargo metadata")?;
    let target = metadata.get("target_directory").and_then(|t| t.as_str()).context("cargo metadata names no target folder")?;
    let version = output(&rustc(), &["-vV"])?;
    let triple = version.lines().find_map(|l| l.strip_prefix("host: ")).context("rustc names no host")?;
    Ok(Path::new(target).join(triple.trim()).join(profile))
}

fn rustc() -> String {
    std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned())
}
