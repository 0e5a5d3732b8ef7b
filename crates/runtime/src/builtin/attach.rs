//! Joining a client to a container's main process.

use cri::v1;
use streaming::{ExitStatus, Streams};

use super::Builtin;
use super::container::Phase;
use super::exec::{copy, feed, pipe, type_in};
use super::terminal::Terminal;
use crate::wire::{Answer, Call, Input};

impl Builtin {
    /// Copies until the container ends or the client's output closes. Output from before is not repeated.
    pub(super) async fn attach_streams(&self, request: v1::AttachRequest, streams: Streams) -> cri::Result<ExitStatus> {
        let container = self.container(&request.container_id)?;
        container.must_run()?;
        let (terminal, once) = {
            let config = container.config();
            (config.tty, config.stdin_once)
        };
        let shim = self.sandbox(&container.record.sandbox)?.shim()?;
        let (out, their_out) = pipe()?;
        let (err, their_err) = pipe()?;
        let mut fds = vec![their_out, their_err];
        if terminal {
            // One output; the other pipe is at its end at once.
            fds.truncate(1);
        }
        let (answer, mut carried) = shim.ask(Call::Attach { container: container.id.clone() }, &fds).await?;
        drop(fds);
        let kind = if let Answer::Attached { input } = answer { input } else { Input::None };
        let mut resize = streams.resize;
        let mut tasks = tokio::task::JoinSet::new();
        let mut input = None;
        match (kind, carried.pop()) {
            (Input::Terminal, Some(master)) => {
                let terminal = Terminal::new(master).map_err(|e| cri::Error::Internal(format!("taking over the terminal: {e}")))?;
                let sizes = terminal.clone();
                tasks.spawn(async move {
                    while let Some(size) = resize.recv().await {
                        sizes.resize(size);
                    }
                });
                input = streams.stdin.map(|stdin| tokio::spawn(type_in(stdin, terminal)));
            }
            (Input::Pipe, Some(fd)) => {
                let (shim, id) = (shim.clone(), container.id.clone());
                input = streams.stdin.map(|stdin| {
                    tokio::spawn(async move {
                        feed(stdin, fd).await;
                        if once {
                            let _ = shim.ask(Call::CloseStdin { container: id }, &[]).await;
                        }
                    })
                });
            }
            _ => {}
        }
        tokio::join!(copy(out, streams.stdout), copy(err, streams.stderr));
        if let Some(input) = input {
            input.abort();
        }
        Ok(match container.phase() {
            Phase::Exited(_, exit) => ExitStatus::Code(exit.code),
            _ => ExitStatus::Code(0),
        })
    }
}
