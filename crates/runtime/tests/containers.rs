//! The runtime on a real kernel: real namespaces, limits, filters and streams. Needs root and a static busybox; says so and passes without.
//!
//! This program is also its own shim: the runtime starts `/proc/self/exe`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // Without the harness clippy takes it for a program.
#![allow(unreachable_pub)] // Every module here is private to the test program.

#[path = "containers/isolation.rs"]
mod isolation;
#[path = "containers/lifecycle.rs"]
mod lifecycle;
#[path = "containers/measure.rs"]
mod measure;
#[path = "containers/node.rs"]
mod node;
#[path = "containers/security.rs"]
mod security;
#[path = "containers/streams.rs"]
mod streams;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use node::Node;

type Test = fn(Node) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! tests {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), |node| Box::pin(async move { $module::$name(&node).await; node.close().await }))),*]
    };
}

const TESTS: &[(&str, Test)] = tests![
    lifecycle::a_container_runs_logs_and_ends,
    lifecycle::a_restarted_daemon_finds_what_runs,
    lifecycle::a_dead_shim_ends_its_pod,
    lifecycle::stop_asks_and_then_kills,
    lifecycle::a_missing_program_is_a_start_error,
    lifecycle::nothing_is_left_behind,
    lifecycle::events_tell_the_life,
    isolation::namespaces_are_separate,
    isolation::containers_of_a_pod_share_what_they_should,
    isolation::limits_are_written_and_enforced,
    isolation::mounts_are_as_asked,
    isolation::links_in_an_image_lead_nowhere,
    security::the_default_filter_refuses,
    security::capabilities_and_no_new_privs,
    security::users_and_groups,
    security::a_read_only_root,
    security::devices_are_limited,
    streams::exec_collects_output,
    streams::exec_with_streams,
    streams::exec_with_a_terminal_resizes,
    streams::attach_reaches_the_main_process,
    streams::a_port_is_forwarded,
    streams::a_log_is_reopened,
];

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if std::env::args().nth(1).as_deref() == Some(runtime::SHIM_ARGUMENT) {
        arguments.next();
        return ExitCode::from(u8::try_from(runtime::shim_main(arguments)).unwrap_or(1));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--list") {
        // The protocol of cargo-nextest: ignored tests are listed apart, and there are none.
        if !arguments.iter().any(|a| a == "--ignored") {
            TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    if let Some(why) = node::missing() {
        // A test that could not run has proved nothing.
        eprintln!("cannot run: {why}");
        return ExitCode::FAILURE;
    }
    node::sweep();
    if arguments.iter().any(|a| a == "--measure") {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        tokio.block_on(async { measure::print(Node::open().await).await });
        return ExitCode::SUCCESS;
    }
    let exact = arguments.iter().any(|a| a == "--exact");
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|w| if exact { *w == name } else { name.contains(w.as_str()) });
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| chosen(name)) {
        let outcome = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async { test(Node::open().await).await });
        });
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed += u8::from(outcome.is_err());
    }
    ExitCode::from(failed)
}
