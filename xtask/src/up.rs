//! `cargo xtask up`: from a clone to a running cluster that shows something, on a machine with Rust and root and nothing else.
//!
//! Run again, it changes nothing that is as it should be: a running server stays, and the sample is applied once more.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::command;

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to end.
const END_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The node port of the sample's web half, see examples/guestbook.yaml.
const SAMPLE_PORT: u16 = 30080;
/// Between two lines that say that it still takes time.
const PROGRESS: Duration = Duration::from_secs(5);
/// How much of the log is shown when the start fails.
const LOG_SHOWN_BYTES: u64 = 4096;
const USAGE: &str = "cargo xtask up [--data-dir DIR] [--no-sample] [-- FLAGS OF ferry server]";

struct Plan {
    ferry: PathBuf,
    data_dir: PathBuf,
    sample: Sample,
    /// Given to the server as they are.
    server_flags: Vec<String>,
    /// This program's own arguments, to say them again.
    given: Vec<String>,
}

#[derive(PartialEq, Eq)]
enum Sample {
    Deploy,
    LeaveOut,
}

/// Builds, starts, waits, deploys the sample, and says what to do next.
///
/// # Errors
/// If a step fails; the message says which, and shows the end of the server's log where that helps.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    ensure!(command::is_root(), "a node starts containers and networks, for which it needs root; run this as root");
    let plan = Plan::read(args)?;
    println!("building Ferry; the first time this takes some minutes");
    command::cargo(&["build", "--release", "--package", "ferry"])?;
    fs::create_dir_all(&plan.data_dir).with_context(|| format!("creating {}", plan.data_dir.display()))?;
    match plan.running() {
        Some(pid) if plan.is_outdated(pid) => {
            println!("the server (process {pid}) runs an older build; starting it anew, its pods keep running");
            plan.stop(pid)?;
            plan.start()?;
        }
        Some(pid) => println!("the server already runs (process {pid})"),
        None => plan.start()?,
    }
    if plan.sample == Sample::Deploy {
        let mut deploy = Command::new(&plan.ferry);
        deploy.args(["sample", "deploy", "--data-dir"]).arg(&plan.data_dir);
        deploy.arg("--kubeconfig").arg(plan.kubeconfig());
        command::succeed(&mut deploy).context("deploying the sample application")?;
        plan.show_node_port()?;
    }
    plan.say_what_next();
    Ok(())
}

impl Plan {
    fn read(args: &[String]) -> anyhow::Result<Self> {
        let mut data_dir = std::env::var_os("FERRY_DATA_DIR").map_or_else(|| PathBuf::from("/var/lib/ferry"), PathBuf::from);
        let mut sample = Sample::Deploy;
        let given = args.to_vec();
        let mut args = args.iter();
        let mut server_flags = Vec::new();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--data-dir" => data_dir = args.next().context("--data-dir needs a folder")?.into(),
                "--no-sample" => sample = Sample::LeaveOut,
                "--" => server_flags.extend(args.by_ref().cloned()),
                other => bail!("there is no flag {other:?}; {USAGE}"),
            }
        }
        if let Some(flag) = server_flags.iter().find(|f| f.starts_with("--data-dir")) {
            bail!("write {flag} before the --, so that every step knows it; {USAGE}");
        }
        let data_dir = std::path::absolute(&data_dir).context("finding the data folder")?;
        Ok(Self { ferry: command::binaries("release")?.join("ferry"), data_dir, sample, server_flags, given })
    }

    fn log(&self) -> PathBuf {
        self.data_dir.join("server.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.data_dir.join("server.pid")
    }

    /// A server flag's value, written as `--flag value` or `--flag=value`.
    fn server_flag(&self, flag: &str) -> Option<&str> {
        let mut flags = self.server_flags.iter();
        while let Some(one) = flags.next() {
            if one == flag {
                return flags.next().map(String::as_str);
            }
            if let Some(value) = one.strip_prefix(flag).and_then(|v| v.strip_prefix('=')) {
                return Some(value);
            }
        }
        None
    }

    fn kubeconfig(&self) -> PathBuf {
        self.server_flag("--write-kubeconfig").map_or_else(|| self.data_dir.join("kubeconfig"), PathBuf::from)
    }

    /// The process of a server on this data folder, by what it left in the folder, if that process still is one.
    fn running(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok()?;
        let command_line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let mut words = command_line.split(|b| *b == 0);
        let is_server = words.next().is_some_and(|w| w.ends_with(b"ferry")) && words.next() == Some(b"server");
        let here = words.any(|w| w == self.data_dir.as_os_str().as_encoded_bytes());
        (is_server && here).then_some(pid)
    }

    /// Whether the binary on disk is no longer the one that runs: cargo replaces a file, it does not write into it.
    fn is_outdated(&self, pid: u32) -> bool {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe != self.ferry)
    }

    fn stop(&self, pid: u32) -> anyhow::Result<()> {
        command::run("kill", &[&pid.to_string()])?;
        let since = Instant::now();
        while self.running() == Some(pid) {
            ensure!(since.elapsed() < END_MAX, "the server (process {pid}) does not end");
            sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    fn start(&self) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log()).context("opening the server's log")?;
        let old_kubeconfig = modified(&self.kubeconfig());
        let mut server = Command::new(&self.ferry);
        server.arg("server").arg("--data-dir").arg(&self.data_dir).args(&self.server_flags);
        // Its own process group, so that Ctrl-C in this terminal does not reach it.
        server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).current_dir("/");
        let mut server = server.spawn().with_context(|| format!("starting {}", self.ferry.display()))?;
        fs::write(self.pid_file(), server.id().to_string()).context("noting the server's process")?;
        println!("started ferry server (process {}), log in {}", server.id(), self.log().display());
        let since = Instant::now();
        let mut said = since;
        loop {
            self.ensure_alive(&mut server)?;
            if modified(&self.kubeconfig()) != old_kubeconfig && self.answers() {
                println!("the API server answers after {:.1} s", since.elapsed().as_secs_f32());
                return Ok(());
            }
            if said.elapsed() > PROGRESS {
                println!("  waiting for the API server, {} s", since.elapsed().as_secs());
                said = Instant::now();
            }
            ensure!(since.elapsed() < START_MAX, "the API server does not answer; the log ends with:\n{}", self.log_end());
            sleep(LOOK_AGAIN);
        }
    }

    fn ensure_alive(&self, server: &mut Child) -> anyhow::Result<()> {
        if let Some(status) = server.try_wait()? {
            bail!("ferry server ended ({status}); its log ends with:\n{}", self.log_end());
        }
        Ok(())
    }

    /// Where the kubeconfig says that the API server is.
    fn server_address(&self) -> Option<SocketAddr> {
        let kubeconfig = fs::read_to_string(self.kubeconfig()).ok()?;
        let server = kubeconfig.split("https://").nth(1)?;
        let address: String = server.chars().take_while(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | ',' | '/')).collect();
        address.parse().ok()
    }

    fn answers(&self) -> bool {
        self.server_address().is_some_and(|a| TcpStream::connect_timeout(&a, ANSWER_MAX).is_ok())
    }

    fn log_end(&self) -> String {
        let read = || {
            let mut log = File::open(self.log())?;
            let length = log.metadata()?.len();
            log.seek(SeekFrom::Start(length.saturating_sub(LOG_SHOWN_BYTES)))?;
            let mut end = Vec::new();
            log.read_to_end(&mut end)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&end).into_owned())
        };
        read().unwrap_or_else(|error| format!("(it cannot be read: {error})"))
    }

    /// Asks the sample on its node port, as a neighbour of this machine would.
    fn show_node_port(&self) -> anyhow::Result<()> {
        let server = self.server_address().context("reading the API server's address in the kubeconfig")?;
        let address = SocketAddr::new(server.ip(), SAMPLE_PORT);
        let since = Instant::now();
        loop {
            match ask(address) {
                Ok(answer) => {
                    println!("http://{address}/ on the node's port says: {}", answer.lines().next().unwrap_or_default());
                    return Ok(());
                }
                Err(error) if since.elapsed() > START_MAX => {
                    return Err(error.context(format!("the sample does not answer at http://{address}/")));
                }
                Err(_) => sleep(LOOK_AGAIN),
            }
        }
    }

    fn say_what_next(&self) {
        let (ferry, data, kubeconfig) = (self.ferry.display(), self.data_dir.display(), self.kubeconfig());
        println!(
            "\nThe cluster is up. Its kubeconfig is {kubeconfig}. Next:\n\n  \
             export KUBECONFIG={kubeconfig}\n  \
             kubectl get pods -A                   # with any kubectl of 1.32 or later\n  \
             kubectl scale deployment guestbook-web --replicas=5\n\n\
             Stop the server (pods keep running):  kill $(cat {data}/server.pid)\n\
             Start it again:                       cargo xtask up{again}\n\
             Take everything away (after a stop):  {ferry} reset --data-dir {data} --yes",
            kubeconfig = kubeconfig.display(),
            again = self.given.iter().map(|flag| format!(" {flag}")).collect::<String>(),
        );
    }
}

/// What a web server says at its root.
fn ask(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => bail!("it says {:?}", answer.lines().next().unwrap_or_default()),
    }
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(args: &[&str]) -> anyhow::Result<Plan> {
        Plan::read(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_taken_apart() {
        let got = plan(&["--data-dir", "/x", "--no-sample", "--", "--node-ip", "10.0.0.1", "--write-kubeconfig=/k"]).unwrap();
        assert_eq!(got.data_dir, Path::new("/x"));
        assert!(got.sample == Sample::LeaveOut);
        assert_eq!(got.server_flag("--node-ip"), Some("10.0.0.1"));
        assert_eq!(got.kubeconfig(), Path::new("/k"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for args in [&["--data-dir"][..], &["up"], &["--", "--data-dir=/x"]] {
            assert!(plan(args).is_err(), "{args:?}");
        }
    }
}
