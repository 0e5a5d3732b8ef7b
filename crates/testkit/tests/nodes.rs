//! The test machines themselves: alone in the world, and gone without a trace.

// A test fails by a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use testkit::node::{NODE_IP, OUTSIDE_IP};
use testkit::process::Process;
use testkit::{Node, Place, eventually};

/// Runs this test binary's own `leave_everything_behind` in a process that is then killed.
const CRASH: &str = "FERRY_TESTKIT_CRASH";

#[test]
fn a_node_has_its_link_and_no_route_beyond_it() {
    let node = Node::create().unwrap();
    node.run(Place::Outside, &["busybox", "ping", "-c", "1", "-W", "5", &NODE_IP.to_string()]).ok();
    node.run(Place::Node, &["busybox", "ping", "-c", "1", "-W", "5", &OUTSIDE_IP.to_string()]).ok();
    let routes = node.run(Place::Node, &["ip", "route", "show", "table", "all", "default"]).ok();
    assert_eq!(routes, "");
    let error = node.connect(Place::Node, (Ipv4Addr::new(192, 0, 2, 1), 80).into()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable);
}

#[test]
fn a_node_sees_cgroups_and_only_its_own_processes() {
    let node = Node::create().unwrap();
    let processes = node.run(Place::Node, &["sh", "-c", "echo /proc/[0-9]*"]).ok();
    assert!(processes.split_whitespace().count() < 6, "{processes}");
    assert!(node.run(Place::Node, &["ls", "/sys/fs/cgroup"]).ok().lines().count() > 1);
}

#[test]
fn a_node_vanishes_with_all_that_runs_on_it() {
    let node = Node::create().unwrap();
    let (name, folder) = (node.name().to_owned(), node.folder().to_owned());
    let mut sleeper = node.command(Place::Node, "sh").args(["-c", "mount -t tmpfs tmpfs /mnt; setsid sleep 100000"]).spawn().unwrap();
    eventually("the sleeper", || node.processes().into_iter().find(|(_, line)| line.starts_with("sleep 100000")).ok_or_else(String::new));
    drop(node);
    sleeper.wait().unwrap();
    assert_traceless(&name, &folder);
}

#[test]
fn what_a_killed_test_left_is_removed_by_the_next() {
    if std::env::var_os(CRASH).is_some() {
        leave_everything_behind();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_a_killed_test_left_is_removed_by_the_next", "--nocapture"])
        .env(CRASH, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let name = eventually("the other test's node", || {
        let found =
            Path::new("/run/netns").read_dir().into_iter().flatten().flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let mine = format!("ferry-t{}-", child.id());
        found.into_iter().find(|n| n.starts_with(&mine) && !n.ends_with("-out")).ok_or_else(String::new)
    });
    eventually("its note of the holder", || {
        let note = std::fs::read_to_string(Path::new("/run/ferry-testkit").join(&name).join("holder"));
        note.map_err(|e| e.to_string())
    });
    Process::now(child.id()).unwrap().signal(Signal::KILL);
    child.wait().unwrap();
    let folder = std::env::temp_dir().join(&name);
    assert!(folder.exists());
    drop(Node::create().unwrap());
    assert_traceless(&name, &folder);
}

fn leave_everything_behind() -> ! {
    let node = Node::create().unwrap();
    std::mem::forget(node);
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1000));
    }
}

fn assert_traceless(name: &str, folder: &Path) {
    assert!(!folder.exists());
    assert!(!Path::new("/run/ferry-testkit").join(name).exists());
    assert!(!Path::new("/run/netns").join(name).exists());
    assert!(!Path::new("/run/netns").join(format!("{name}-out")).exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(name), "{mounts}");
}
