//! What can go wrong while streaming.

/// Why streams could not be set up, or broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request asks for no upgrade.
    #[error("unable to upgrade: missing upgrade headers in request: {0}")]
    NoUpgrade(&'static str),
    /// The client and this server share no protocol.
    #[error("unable to upgrade: unable to negotiate protocol: client supports [{client}], server accepts [{server}]")]
    Negotiation {
        /// What the client offers.
        client: String,
        /// What this server takes.
        server: String,
    },
    /// The peer broke the protocol.
    #[error("protocol error: {0}")]
    Protocol(String),
    /// The client did not open its streams in time.
    #[error("timed out waiting for client to create streams")]
    StreamsTimeout,
    /// The connection broke.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    /// The HTTP upgrade failed.
    #[error("upgrade: {0}")]
    Upgrade(#[from] hyper::Error),
    /// The WebSocket failed.
    #[error("websocket: {0}")]
    WebSocket(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    /// The server refused.
    #[error("unable to upgrade connection: {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
}

impl Error {
    /// The HTTP status of the answer when the handshake fails.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoUpgrade(_) => 400,
            Self::Negotiation { .. } => 403,
            _ => 500,
        }
    }
}
