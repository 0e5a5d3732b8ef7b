//! The workspace's own chores, as `cargo xtask <verb>`.

#[cfg(feature = "gen")]
mod r#gen;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("gen") => generate(),
        Some(other) => anyhow::bail!("there is no verb {other:?}; known: gen"),
        None => anyhow::bail!("say what to do: cargo xtask gen"),
    }
}

#[cfg(feature = "gen")]
fn generate() -> anyhow::Result<()> {
    r#gen::run()
}

/// Starts this program again with its generators compiled in; everyday verbs do not wait for them.
#[cfg(not(feature = "gen"))]
fn generate() -> anyhow::Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["run", "--quiet", "--package", "xtask", "--features", "gen", "--", "gen"])
        .status()?;
    anyhow::ensure!(status.success(), "the generators failed: {status}");
    Ok(())
}
