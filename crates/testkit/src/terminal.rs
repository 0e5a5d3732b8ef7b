//! A terminal with a program in it, to see what a person would see.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::wait::eventually;

/// A running program and what it showed so far.
pub struct Terminal {
    child: Child,
    keyboard: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program in a new terminal of a size.
    ///
    /// # Errors
    /// If there is no terminal to be had or the program cannot be started.
    pub fn open(command: &mut Command, rows: u16, columns: u16) -> anyhow::Result<Self> {
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("opening a terminal")?;
        grantpt(&control)?;
        unlockpt(&control)?;
        let name = ptsname(&control, Vec::new())?.into_string()?;
        tcsetwinsize(&control, size(rows, columns))?;
        let screen = OpenOptions::new().read(true).write(true).open(&name).context("opening the terminal's other end")?;
        let keyboard = File::from(control);
        // The terminal becomes the program's controlling one, so that a change of size reaches it as a signal.
        let mut inside = Command::new("setsid");
        inside.args(["--ctty", "--wait", "--"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        inside.stdin(Stdio::from(screen.try_clone()?)).stdout(Stdio::from(screen.try_clone()?)).stderr(Stdio::from(screen));
        let child = inside.spawn().with_context(|| format!("starting {inside:?}"))?;
        // The last copies of the other end in this process; without them the end of the program is the end of the screen.
        drop(inside);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (keyboard.try_clone()?, shown.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
            }
        });
        Ok(Self { child, keyboard, shown })
    }

    /// Types.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Gives the terminal another size.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.keyboard, size(rows, columns)).unwrap();
    }

    /// All that was shown.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until a text is shown.
    ///
    /// # Panics
    /// If it never is.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        eventually(&format!("{text:?} on the terminal"), || {
            let shown = self.shown();
            if shown.contains(text) { Ok(()) } else { Err(shown) }
        });
    }

    /// Waits until the program ends; its exit code.
    ///
    /// # Panics
    /// If it never does.
    #[track_caller]
    pub fn ended(&mut self) -> i32 {
        eventually("the end of the program in the terminal", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status.code().unwrap_or(-1)),
            _ => {
                thread::sleep(Duration::from_millis(20));
                Err(self.shown())
            }
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_sees_a_terminal_and_its_new_size() {
        let mut terminal = Terminal::open(Command::new("sh").args(["-c", "stty size; read x; stty size; exit 4"]), 30, 100).unwrap();
        terminal.expect("30 100");
        terminal.resize(40, 90);
        terminal.type_in("go\n");
        terminal.expect("40 90");
        assert_eq!(terminal.ended(), 4);
    }
}
