//! Running further commands in a container, with collected output or with live streams.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cri::v1;
use rustix::pipe::PipeFlags;
use streaming::{ExitStatus, Streams};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::Builtin;
use super::client::Shim;
use super::terminal::Terminal;
use crate::wire::Call;

/// The most that is kept of each output stream of [`Builtin::exec_collect`]; the rest is read and thrown away, so that the command goes on.
const MAX_OUTPUT: usize = 16 << 20;
/// How long output is still read after the command has ended: a process that it left behind may hold the pipes open for ever.
const DRAIN: Duration = Duration::from_secs(2);
const CHUNK: usize = 32 * 1024;

/// A command that has been started.
struct Started {
    shim: Arc<Shim>,
    exec: u64,
    ended: oneshot::Receiver<i32>,
    terminal: Option<Terminal>,
}

type Input = Pin<Box<dyn AsyncRead + Send>>;
type Output = Pin<Box<dyn AsyncWrite + Send>>;

impl Builtin {
    /// Runs a command and collects its output. A zero `timeout` means none.
    pub(super) async fn exec_collect(&self, id: &str, command: Vec<String>, timeout: Duration) -> cri::Result<v1::ExecSyncResponse> {
        let (out, their_out) = pipe()?;
        let (err, their_err) = pipe()?;
        let started = self.begin(id, command, false, false, vec![their_out, their_err]).await?;
        let outputs = tokio::spawn(async move { tokio::join!(collect(reader(out)), collect(reader(err))) });
        let abort = outputs.abort_handle();
        let ended = async { started.ended.await.map_err(|_| cri::Error::Unavailable("the pod's shim is gone".into())) };
        let code = if timeout.is_zero() {
            ended.await
        } else {
            tokio::time::timeout(timeout, ended).await.unwrap_or_else(|_| {
                Err(cri::Error::DeadlineExceeded(format!("failed to exec in container {id:?}: timeout {}s exceeded", timeout.as_secs())))
            })
        };
        let code = match code {
            Ok(code) => code,
            Err(e) => {
                let _ = started.shim.ask(Call::KillExec { exec: started.exec }, &[]).await;
                abort.abort();
                return Err(e);
            }
        };
        let (stdout, stderr) = match tokio::time::timeout(DRAIN, outputs).await {
            Ok(Ok(outputs)) => outputs,
            Ok(Err(_)) | Err(_) => {
                abort.abort();
                return Err(cri::Error::DeadlineExceeded(format!("the command in container {id:?} ended but its output did not")));
            }
        };
        Ok(v1::ExecSyncResponse { stdout, stderr, exit_code: code })
    }

    /// Runs a command with live streams until it ends.
    pub(super) async fn exec_streams(&self, request: v1::ExecRequest, streams: Streams) -> cri::Result<ExitStatus> {
        let mut resize = streams.resize;
        if request.tty {
            let started = self.begin(&request.container_id, request.cmd, true, request.stdin, Vec::new()).await?;
            let Some(terminal) = started.terminal else {
                return Err(cri::Error::Internal("the command's terminal did not come along".into()));
            };
            let sizes = terminal.clone();
            let resizing = tokio::spawn(async move {
                while let Some(size) = resize.recv().await {
                    sizes.resize(size);
                }
            });
            let typing = streams.stdin.map(|stdin| tokio::spawn(type_in(stdin, terminal.clone())));
            let mut showing = tokio::spawn(show(terminal, streams.stdout));
            let code = started.ended.await;
            let _ = tokio::time::timeout(DRAIN, &mut showing).await;
            showing.abort();
            resizing.abort();
            if let Some(typing) = typing {
                typing.abort();
            }
            return Ok(status(code));
        }
        let (out, their_out) = pipe()?;
        let (err, their_err) = pipe()?;
        let mut fds = vec![their_out, their_err];
        let mut our_input = None;
        if request.stdin {
            let (theirs, ours) = pipe()?;
            fds.insert(0, theirs);
            our_input = Some(ours);
        }
        let started = self.begin(&request.container_id, request.cmd, false, request.stdin, fds).await?;
        let feeding = streams.stdin.zip(our_input).map(|(from, to)| tokio::spawn(feed(from, to)));
        let mut copying = tokio::spawn(async move { tokio::join!(copy(out, streams.stdout), copy(err, streams.stderr)) });
        let code = started.ended.await;
        let _ = tokio::time::timeout(DRAIN, &mut copying).await;
        copying.abort();
        if let Some(feeding) = feeding {
            feeding.abort();
        }
        Ok(status(code))
    }

    async fn begin(&self, id: &str, args: Vec<String>, terminal: bool, stdin: bool, fds: Vec<OwnedFd>) -> cri::Result<Started> {
        let container = self.container(id)?;
        container.must_run()?;
        if args.is_empty() {
            return Err(cri::Error::InvalidArgument("no command specified".into()));
        }
        let shim = self.sandbox(&container.record.sandbox)?.shim()?;
        let exec = self.next_exec.fetch_add(1, Ordering::Relaxed);
        let ended = shim.expect_exec(exec);
        let call = Call::Exec { container: container.id.clone(), exec, args, terminal, stdin };
        let (_, mut carried) = match shim.ask(call, &fds).await {
            Ok(answer) => answer,
            Err(e) => {
                shim.forget_exec(exec);
                return Err(cri::Error::Internal(format!("failed to exec in container {id:?}: {e}")));
            }
        };
        let terminal =
            carried.pop().map(Terminal::new).transpose().map_err(|e| cri::Error::Internal(format!("taking over the terminal: {e}")))?;
        Ok(Started { shim, exec, ended, terminal })
    }
}

fn status(code: Result<i32, oneshot::error::RecvError>) -> ExitStatus {
    code.map_or_else(|_| ExitStatus::Failed("the pod's shim is gone".to_owned()), ExitStatus::Code)
}

/// Read end and write end.
pub(super) fn pipe() -> cri::Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|e| cri::Error::Internal(format!("making a pipe: {}", std::io::Error::from(e))))
}

fn reader(fd: OwnedFd) -> std::io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(fd)
}

async fn collect(from: std::io::Result<pipe::Receiver>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Ok(mut from) = from else { return kept };
    let mut chunk = vec![0u8; CHUNK];
    while let Ok(count) = from.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        let room = MAX_OUTPUT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
    }
    kept
}

/// Copies output to the client. When the client is gone the output is still read, so that the command is not held up.
pub(super) async fn copy(from: OwnedFd, mut to: Option<Output>) {
    let Ok(mut from) = reader(from) else { return };
    let mut chunk = vec![0u8; CHUNK];
    while let Ok(count) = from.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        pass_on(&mut to, chunk.get(..count).unwrap_or_default()).await;
    }
    if let Some(mut to) = to {
        let _ = to.shutdown().await;
    }
}

async fn pass_on(to: &mut Option<Output>, data: &[u8]) {
    if let Some(open) = to {
        let written = async {
            open.write_all(data).await?;
            open.flush().await
        };
        if written.await.is_err() {
            *to = None;
        }
    }
}

/// Copies what the client types into a pipe, which closes at its end.
pub(super) async fn feed(mut from: Input, to: OwnedFd) {
    let Ok(mut to) = pipe::Sender::from_owned_fd(to) else { return };
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// Copies a terminal's output to the client.
pub(super) async fn show(terminal: Terminal, mut to: Option<Output>) {
    let mut chunk = vec![0u8; CHUNK];
    while let Ok(count) = terminal.read(&mut chunk).await {
        if count == 0 {
            break;
        }
        pass_on(&mut to, chunk.get(..count).unwrap_or_default()).await;
    }
    if let Some(mut to) = to {
        let _ = to.shutdown().await;
    }
}

/// Copies what the client types into a terminal. The client's end of file is typed as such (Ctrl-D), since a terminal has no other.
pub(super) async fn type_in(mut from: Input, terminal: Terminal) {
    const END_OF_FILE: u8 = 4;
    let mut chunk = vec![0u8; CHUNK];
    while let Ok(count) = from.read(&mut chunk).await {
        if count == 0 {
            let _ = terminal.write_all(&[END_OF_FILE]).await;
            return;
        }
        if terminal.write_all(chunk.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}
