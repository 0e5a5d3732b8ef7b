//! Other programs: run to their end with their output, or known by a process id that cannot be mistaken for a later one.

use std::fmt;
use std::fs;
use std::io::{Read, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A program that runs longer hangs.
const DEADLINE: Duration = Duration::from_secs(300);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What a program printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    pub command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// What it printed on standard output.
    ///
    /// # Panics
    /// If it did not succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }

    /// What it printed on standard error.
    ///
    /// # Panics
    /// If it succeeded.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(!self.status.success(), "this should have failed: {self}");
        self.stderr
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}", self.command, self.status, self.stdout, self.stderr)
    }
}

/// Runs a program to its end, with `input` on its standard input.
///
/// # Errors
/// If it cannot be started, or if it is still running after five minutes; it is killed then.
pub fn run(command: &mut Command, input: &[u8]) -> anyhow::Result<Output> {
    let text = format!("{command:?}");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| format!("starting {text}"))?;
    let (stdout, stderr) = (gather(child.stdout.take()), gather(child.stderr.take()));
    let (stdin, input) = (child.stdin.take(), input.to_vec());
    // A program may end without reading all of its input.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let since = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if since.elapsed() > DEADLINE {
            child.kill()?;
            child.wait()?;
            bail!("{text} did not end in {DEADLINE:?}");
        }
        sleep(LOOK_AGAIN);
    };
    let text_of = |gathered: thread::JoinHandle<Vec<u8>>| String::from_utf8_lossy(&gathered.join().unwrap_or_default()).into_owned();
    Ok(Output { command: text, status, stdout: text_of(stdout), stderr: text_of(stderr) })
}

fn gather(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut all);
        }
        all
    })
}

/// A process by its number and its birth, since numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// In clock ticks since the machine's start.
    born: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn now(pid: u32) -> Option<Self> {
        Some(Self { pid, born: birth(pid)? })
    }

    /// Out of what [`Process::to_text`] wrote.
    pub fn from_text(text: &str) -> Option<Self> {
        let (pid, born) = text.trim().split_once(' ')?;
        Some(Self { pid: pid.parse().ok()?, born: born.parse().ok()? })
    }

    pub fn to_text(self) -> String {
        format!("{} {}", self.pid, self.born)
    }

    pub fn is_alive(self) -> bool {
        birth(self.pid) == Some(self.born)
    }

    /// Sends a signal if it is alive.
    pub fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// Returns when it is gone or `patience` is over; whether it is gone.
    pub fn wait(self, patience: Duration) -> bool {
        let since = Instant::now();
        while self.is_alive() {
            if since.elapsed() > patience {
                return false;
            }
            sleep(LOOK_AGAIN);
        }
        true
    }

    /// Processor time used so far, by user and kernel, in clock ticks.
    pub fn cpu_ticks(self) -> Option<u64> {
        let stat = stat(self.pid)?;
        Some(stat.get(11)?.parse::<u64>().ok()? + stat.get(12)?.parse::<u64>().ok()?)
    }

    /// Its first child.
    pub fn child(self) -> Option<Self> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).ok()?;
        Self::now(children.split_whitespace().next()?.parse().ok()?)
    }
}

/// When a process was born; none once it is dead, also if nobody has asked yet how it ended.
fn birth(pid: u32) -> Option<u64> {
    let stat = stat(pid)?;
    if matches!(stat.first().map(String::as_str), Some("Z" | "X")) {
        return None;
    }
    stat.get(19)?.parse().ok()
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything: the state is the first.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_input_and_end_are_reported() {
        let output = run(Command::new("sh").args(["-c", "cat; echo oops >&2; exit 3"]), b"hello").unwrap();
        assert_eq!((output.status.code(), output.stdout.as_str(), output.stderr.as_str()), (Some(3), "hello", "oops\n"));
    }

    #[test]
    fn a_process_is_known_again_only_while_it_lives() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process::now(child.id()).unwrap();
        assert_eq!(Process::from_text(&process.to_text()), Some(process));
        assert!(process.is_alive());
        process.signal(Signal::KILL);
        assert!(process.wait(Duration::from_secs(60)), "a zombie does not count as alive");
        child.wait().unwrap();
        assert_eq!(Process::now(child.id()), None);
    }
}
