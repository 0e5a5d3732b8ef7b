//! The `ferry` binary: flags, configuration, and the wiring of components. Nothing else.
//!
//! Never here: what a component decides. If a file in this crate grows rules about pods or services, they belong elsewhere.

mod cli;
mod config_file;
mod image;
mod layout;
mod logging;
mod node_address;
mod pause;
mod reset;
mod sample;
mod sample_app;
mod server;
mod settings;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    // Before any thread exists: the shim forks.
    if arguments.nth(1).is_some_and(|first| first == runtime::SHIM_ARGUMENT) {
        return ExitCode::from(u8::try_from(runtime::shim_main(arguments)).unwrap_or(1));
    }
    let outcome = config_file::arguments(std::env::args_os().collect()).and_then(|all| run(cli::Cli::parse_from(all)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ferry: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: cli::Cli) -> anyhow::Result<()> {
    match cli.command {
        cli::Command::Server(flags) => {
            logging::start(flags.log.as_deref());
            let settings = settings::Settings::new(*flags)?;
            block_on(server::run(settings))
        }
        cli::Command::Image(command) => image::run(command),
        cli::Command::Reset(flags) => block_on(reset::run(flags)),
        cli::Command::Sample(command) => block_on(sample::run(command)),
        cli::Command::Pause => pause::run(),
        cli::Command::SampleApp(flags) => block_on(sample_app::run(flags)),
        cli::Command::Version => {
            println!("ferry {} (Kubernetes {})", env!("CARGO_PKG_VERSION"), apiserver::config::VERSION);
            Ok(())
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// An error and its causes, without those that an error before them tells already.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        known if text.ends_with(&known) => text,
        first if text.is_empty() => first,
        more => format!("{text}: {more}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let inner = anyhow::anyhow!("no such file");
        assert_eq!(told(&inner.context("opening x: no such file").context("starting")), "starting: opening x: no such file");
        assert_eq!(told(&anyhow::anyhow!("a").context("b")), "b: a");
    }
}
