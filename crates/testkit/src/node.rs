//! A machine for one node: a network namespace with one link to an "outside" and no route beyond it, and mounts, processes,
//! cgroups and data of its own.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::leftovers::{self, Note};
use crate::process::{self, Output, Process};

/// The node's address. Each node is alone with its outside, so all have the same.
pub const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 2);
/// Where clients outside of the node are.
pub const OUTSIDE_IP: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 1);
/// How long a connection may take that must come at once.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a server may take to end after it was asked to.
const END_MAX: Duration = Duration::from_secs(60);
/// The node's first process: it buries the orphans, as init does.
const HOLDER: &str = "trap '' TERM INT; mount -t tmpfs tmpfs /run && touch \"$1\"; while :; do sleep 100000 & wait $!; done";

/// Where something is asked from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the node itself.
    Node,
    /// On another machine of the node's network.
    Outside,
}

/// A machine; it vanishes with the value.
pub struct Node {
    name: String,
    data: PathBuf,
    note: Note,
    holder: Child,
    /// Its child is the init of the node's processes, whose number counts here.
    init: Process,
    server: Option<Server>,
}

struct Server {
    /// `nsenter`, which waits for the server.
    starter: Child,
    process: Process,
}

impl Node {
    /// Makes a machine, after removing what earlier ones left behind.
    ///
    /// # Errors
    /// If the machine cannot be made, for want of root mostly.
    pub fn create() -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        leftovers::sweep();
        let name = format!("ferry-t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let data = std::env::temp_dir().join(&name);
        let note = Note::create(&name, &data).context("noting a new test node; this needs root")?;
        // From here on, whatever exists is removed by the note.
        match Self::make(&name, &data, &note) {
            Ok((holder, init)) => Ok(Self { name, data, note, holder, init, server: None }),
            Err(error) => {
                note.remove();
                Err(error)
            }
        }
    }

    fn make(name: &str, data: &Path, note: &Note) -> anyhow::Result<(Child, Process)> {
        fs::create_dir_all(data).with_context(|| format!("creating {}", data.display()))?;
        let outside = Note::outside(name);
        ip(&["netns", "add", name])?;
        ip(&["netns", "add", &outside])?;
        ip(&["-netns", name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &outside])?;
        for (namespace, address) in [(name, NODE_IP), (outside.as_str(), OUTSIDE_IP)] {
            ip(&["-netns", namespace, "link", "set", "lo", "up"])?;
            ip(&["-netns", namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
            ip(&["-netns", namespace, "link", "set", "eth0", "up"])?;
        }
        let ready = data.join("ready");
        let mut holder = Command::new("nsenter");
        holder.arg(format!("--net=/run/netns/{name}")).args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        holder.args(["sh", "-c", HOLDER, "holder"]).arg(&ready).stdin(Stdio::null());
        let said = data.join("holder.log");
        holder.stderr(File::create(&said)?);
        let mut holder = holder.spawn().context("starting the node's first process")?;
        let found = (0..1000).find_map(|_| {
            thread::sleep(Duration::from_millis(10));
            Process::now(holder.id()).and_then(Process::child).filter(|_| ready.exists())
        });
        let Some(init) = found else {
            let _ = holder.kill();
            let _ = holder.wait();
            bail!("the node's first process did not come up: {}", fs::read_to_string(&said).unwrap_or_default());
        };
        note.holder(init)?;
        Ok((holder, init))
    }

    /// A name that no other node on this machine has; also the name of its cgroup.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A folder for whatever belongs to the node.
    pub fn folder(&self) -> &Path {
        &self.data
    }

    /// The server's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.data.join("data")
    }

    /// The server's log, of all its lives.
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.data.join("server.log")
    }

    /// Starts `ferry server` on the node.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_server(&mut self, flags: &[String]) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).context("opening the server's log")?;
        let mut command = self.command(Place::Node, crate::peers::ferry());
        command.args(["server", "--data-dir"]).arg(self.data_dir());
        command
            .args(["--node-name", &self.name, "--node-ip", &NODE_IP.to_string(), "--cgroup-root", &format!("/{}", self.name)])
            .args(flags);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut starter = command.spawn().context("starting ferry server")?;
        let found = (0..1000).find_map(|_| {
            thread::sleep(Duration::from_millis(5));
            Process::now(starter.id()).and_then(Process::child)
        });
        let Some(process) = found else {
            let status = starter.wait()?;
            bail!("ferry server ended at once ({status}); its log says:\n{}", self.log());
        };
        self.server = Some(Server { starter, process });
        Ok(())
    }

    /// The server's process, if it runs.
    pub fn server(&self) -> Option<Process> {
        self.server.as_ref().map(|s| s.process).filter(|p| p.is_alive())
    }

    /// Ends the server as a crash would.
    pub fn kill_server(&mut self) {
        self.end_server(Signal::KILL);
    }

    /// Ends the server as an administrator would.
    ///
    /// # Panics
    /// If it does not end.
    pub fn stop_server(&mut self) {
        self.end_server(Signal::TERM);
    }

    fn end_server(&mut self, signal: Signal) {
        if let Some(mut server) = self.server.take() {
            server.process.signal(signal);
            let gone = server.process.wait(END_MAX);
            if !gone {
                server.process.signal(Signal::KILL);
            }
            let _ = server.starter.wait();
            assert!(gone, "ferry server did not end after {signal:?}");
        }
    }

    /// A command that runs at a place: on the node with its mounts and processes, or outside with only the network.
    pub fn command(&self, place: Place, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        match place {
            Place::Node => command.args(["--target", &self.init.pid.to_string(), "--mount", "--net", "--pid", "--"]),
            Place::Outside => command.arg(format!("--net={}", self.namespace(place).display())).arg("--"),
        };
        command.arg(program.as_ref());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If it cannot be started or hangs.
    pub fn run(&self, place: Place, args: &[&str]) -> Output {
        let (program, rest) = args.split_first().expect("a command has a name");
        process::run(self.command(place, program).args(rest), b"").unwrap()
    }

    /// Connects from a place.
    ///
    /// # Errors
    /// If nobody accepts.
    pub fn connect(&self, place: Place, to: SocketAddr) -> std::io::Result<TcpStream> {
        let namespace = File::open(self.namespace(place))?;
        // A namespace belongs to a thread; a socket stays in the one that it was made in.
        let connected = thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            TcpStream::connect_timeout(&to, CONNECT_MAX)
        });
        connected.join().unwrap_or_else(|_| Err(std::io::Error::other("connecting panicked")))
    }

    fn namespace(&self, place: Place) -> PathBuf {
        let name = match place {
            Place::Node => self.name.clone(),
            Place::Outside => Note::outside(&self.name),
        };
        Path::new("/run/netns").join(name)
    }

    /// The cgroups below the node's own, by path.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        leftovers::cgroups(&self.name)
    }

    /// The processes of the node, as numbers of this machine, with their command lines; its first one left out.
    pub fn processes(&self) -> Vec<(Process, String)> {
        let mine = fs::read_link(format!("/proc/{}/ns/pid", self.init.pid)).ok();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        // Containers have process namespaces of their own, below the node's: whoever shares its mounts or descends from it counts.
        all.filter(|pid| *pid != self.init.pid && descends(*pid, self.init.pid, mine.as_deref()))
            .filter_map(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                Some((Process::now(pid)?, String::from_utf8_lossy(&line).replace('\0', " ")))
            })
            .collect()
    }
}

/// Whether a process is in a process namespace or below it: `NSpid` lists its number in each namespace from here down.
fn descends(pid: u32, init: u32, namespace: Option<&Path>) -> bool {
    if fs::read_link(format!("/proc/{pid}/ns/pid")).ok().as_deref() == namespace {
        return true;
    }
    let mut at = pid;
    while at > 1 {
        if at == init {
            return true;
        }
        let status = fs::read_to_string(format!("/proc/{at}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|l| l.strip_prefix("PPid:")).and_then(|p| p.trim().parse().ok());
        at = parent.unwrap_or(0);
    }
    false
}

impl Drop for Node {
    fn drop(&mut self) {
        self.note.remove();
        // What waited for processes of the node has nothing left to wait for.
        let _ = self.holder.wait();
        if let Some(mut server) = self.server.take() {
            let _ = server.starter.wait();
        }
    }
}

fn ip(args: &[&str]) -> anyhow::Result<()> {
    let output = process::run(Command::new("ip").args(args), b"")?;
    anyhow::ensure!(output.status.success(), "{output}");
    Ok(())
}
