//! One command's standard streams, free of any wire protocol.

use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// The ends that the command's side uses: it reads stdin and writes stdout and stderr.
/// A stream that the client did not ask for is `None`; with a terminal there is no stderr.
pub struct Streams {
    /// What the client types; end of file when the client closes its side.
    pub stdin: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// The command's output.
    pub stdout: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// The command's error output.
    pub stderr: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// New sizes of the client's terminal, in order.
    pub resize: mpsc::Receiver<TerminalSize>,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How a streamed command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited by itself, with this code (0 is success; 128+n after signal n).
    Code(i32),
    /// It could not be run, or its streams broke.
    Failed(String),
}
