//! What a node leaves on the machine, noted before it is made, so that whoever comes next can take it away.
//!
//! Each node has a folder below [`NOTES`], named as its namespaces and its cgroup: `owner` is the test that made it, `holder`
//! the first process inside, `data` the path of its data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::Process;

const NOTES: &str = "/run/ferry-testkit";
const CGROUPS: &str = "/sys/fs/cgroup";
const PATIENCE: Duration = Duration::from_secs(30);

/// One node's notes.
pub(crate) struct Note {
    name: String,
}

impl Note {
    /// Starts the notes of a new node; its namespaces and its cgroup must bear its name.
    pub(crate) fn create(name: &str, data: &Path) -> std::io::Result<Self> {
        let note = Self { name: name.to_owned() };
        fs::create_dir_all(note.folder())?;
        note.write("data", &data.to_string_lossy())?;
        let me = Process::now(std::process::id()).map(Process::to_text);
        note.write("owner", &me.unwrap_or_default())?;
        Ok(note)
    }

    /// Notes the process whose end ends all others of the node.
    pub(crate) fn holder(&self, holder: Process) -> std::io::Result<()> {
        self.write("holder", &holder.to_text())
    }

    /// The name of the namespace in which the node's clients live.
    pub(crate) fn outside(name: &str) -> String {
        format!("{name}-out")
    }

    fn folder(&self) -> PathBuf {
        Path::new(NOTES).join(&self.name)
    }

    fn write(&self, what: &str, text: &str) -> std::io::Result<()> {
        fs::write(self.folder().join(what), text)
    }

    fn process(&self, what: &str) -> Option<Process> {
        Process::from_text(&fs::read_to_string(self.folder().join(what)).ok()?)
    }

    /// Takes everything away; what is gone already is fine.
    pub(crate) fn remove(&self) {
        if let Some(holder) = self.process("holder") {
            // It is the first process of a process namespace: with it go all others, and their mounts.
            holder.signal(Signal::KILL);
            holder.wait(PATIENCE);
        }
        for namespace in [self.name.clone(), Self::outside(&self.name)] {
            let _ = Command::new("ip").args(["netns", "delete", &namespace]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        for cgroup in cgroups(&self.name) {
            remove_cgroup(&cgroup);
        }
        if let Ok(data) = fs::read_to_string(self.folder().join("data")) {
            let _ = fs::remove_dir_all(data.trim());
        }
        let _ = fs::remove_dir_all(self.folder());
    }
}

/// Removes what tests left that no longer run.
pub(crate) fn sweep() {
    for entry in fs::read_dir(NOTES).into_iter().flatten().flatten() {
        let note = Note { name: entry.file_name().to_string_lossy().into_owned() };
        // A note without an owner is just being made, unless it is older than any making takes.
        let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|m| m.elapsed().ok()).unwrap_or_default();
        match note.process("owner") {
            Some(owner) if owner.is_alive() => {}
            None if age < PATIENCE => {}
            _ => {
                eprintln!("testkit: removing what {} left", note.name);
                note.remove();
            }
        }
    }
}

/// Where a cgroup of this name exists: in each controller's tree, or in the only one.
pub(crate) fn cgroups(name: &str) -> Vec<PathBuf> {
    let trees = fs::read_dir(CGROUPS).into_iter().flatten().flatten().map(|e| e.path());
    let mut found: Vec<PathBuf> = trees.chain([PathBuf::from(CGROUPS)]).map(|tree| tree.join(name)).filter(|p| p.is_dir()).collect();
    // cpu and cpuacct are two names of one tree.
    found.sort_by_key(|p| p.canonicalize().unwrap_or_else(|_| p.clone()));
    found.dedup_by_key(|p| p.canonicalize().unwrap_or_else(|_| p.clone()));
    found
}

fn remove_cgroup(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
