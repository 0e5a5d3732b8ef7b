//! The workspace's own chores, as `cargo xtask <verb>`.
//!
//! Never here: anything that the product needs at run time.

mod bench;
mod command;
#[cfg(feature = "gen")]
mod r#gen;
mod peers;
mod test;
mod tidy;
mod up;

use std::process::ExitCode;

const VERBS: &str = "\
cargo xtask up            build Ferry, start a one-node cluster, deploy the sample application
cargo xtask test [ARGS]   install what tests need and run all of them (ARGS go to cargo nextest run; -E 'test(name)' runs one)
cargo xtask tidy [--bless]  check the house rules; --bless writes the size baseline anew
cargo xtask bench [node|api]  measure and print figures as JSON; all, or one half of them
cargo xtask gen           make tables and protocol code anew";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let verb = args.next();
    let rest: Vec<String> = args.collect();
    let outcome = match verb.as_deref() {
        Some("up") => up::run(&rest),
        Some("test") => test::run(&rest),
        Some("tidy") => tidy::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("gen") => generate(),
        Some("help" | "--help" | "-h") => {
            println!("{VERBS}");
            Ok(())
        }
        Some(other) => Err(anyhow::anyhow!("there is no verb {other:?}; known:\n{VERBS}")),
        None => Err(anyhow::anyhow!("say what to do:\n{VERBS}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "gen")]
fn generate() -> anyhow::Result<()> {
    r#gen::run()
}

/// Starts this program again with its generators compiled in; everyday verbs do not wait for them.
#[cfg(not(feature = "gen"))]
fn generate() -> anyhow::Result<()> {
    command::cargo(&["run", "--quiet", "--package", "xtask", "--features", "gen", "--", "gen"])
}
