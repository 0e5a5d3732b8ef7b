//! The sample application: a guestbook in two halves, so that a first cluster has something to show. The store keeps
//! messages; the web half greets, names its pod and shows the messages.
//!
//! It runs inside a container made of this binary alone and knows nothing of Ferry.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::SampleAppFlags;

/// Messages kept; the oldest goes when a new one comes.
const MESSAGES_MAX: usize = 100;
const MESSAGE_MAX_BYTES: usize = 1024;
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long open requests may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(5);

struct App {
    flags: SampleAppFlags,
    token: String,
    greeting: String,
    pod: String,
    messages: Mutex<Vec<String>>,
}

/// Serves until SIGTERM.
pub(crate) async fn run(flags: SampleAppFlags) -> anyhow::Result<()> {
    let from_env = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, flags.port))).await.context("listening")?;
    let app = Arc::new(App {
        token: from_env("GUESTBOOK_TOKEN", ""),
        greeting: from_env("GREETING", "Hello"),
        pod: from_env("HOSTNAME", "nobody"),
        messages: Mutex::default(),
        flags,
    });
    println!("{} half of the guestbook, port {}", app.flags.role, app.flags.port);
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.context("accepting")?.0,
            _ = terminate.recv() => break,
        };
        let app = app.clone();
        let service = service_fn(move |request| {
            let app = app.clone();
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(graceful.watch(connection));
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    Ok(())
}

impl App {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, text) = match (request.method(), request.uri().path()) {
            (_, "/healthz" | "/readyz") => (StatusCode::OK, "ok\n".to_owned()),
            (&Method::GET, "/") if self.flags.role == "web" => self.page().await,
            (&Method::GET, "/") => (StatusCode::OK, self.kept()),
            (&Method::POST, "/") => self.sign(request).await,
            _ => (StatusCode::NOT_FOUND, "there is only /\n".to_owned()),
        };
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    }

    fn kept(&self) -> String {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().map(|m| format!("{m}\n")).collect()
    }

    async fn page(&self) -> (StatusCode, String) {
        match self.ask_store(Method::GET, Bytes::new()).await {
            Ok(messages) => (StatusCode::OK, format!("{} from {}\n{messages}", self.greeting, self.pod)),
            Err(error) => (StatusCode::BAD_GATEWAY, format!("the store does not answer: {error:#}\n")),
        }
    }

    async fn sign(&self, request: Request<Incoming>) -> (StatusCode, String) {
        let token = request.headers().get("x-token").and_then(|t| t.to_str().ok()).unwrap_or_default().to_owned();
        let Ok(body) = Limited::new(request.into_body(), MESSAGE_MAX_BYTES).collect().await else {
            return (StatusCode::PAYLOAD_TOO_LARGE, format!("at most {MESSAGE_MAX_BYTES} bytes, please\n"));
        };
        let body = body.to_bytes();
        if self.flags.role == "web" {
            return match self.ask_store(Method::POST, body).await {
                Ok(text) => (StatusCode::OK, text),
                Err(error) => (StatusCode::BAD_GATEWAY, format!("the store does not answer: {error:#}\n")),
            };
        }
        if token != self.token {
            return (StatusCode::FORBIDDEN, "only the web half may write here\n".to_owned());
        }
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() >= MESSAGES_MAX {
            messages.remove(0);
        }
        messages.push(String::from_utf8_lossy(&body).trim().to_owned());
        (StatusCode::OK, "thank you\n".to_owned())
    }

    async fn ask_store(&self, method: Method, body: Bytes) -> anyhow::Result<String> {
        let asking = async {
            let stream = TcpStream::connect(&self.flags.store).await.with_context(|| format!("connecting to {}", self.flags.store))?;
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let request = Request::builder().method(method).uri("/").header("host", &self.flags.store).header("x-token", &self.token);
            let response = sender.send_request(request.body(Full::new(body))?).await?;
            if response.status() != StatusCode::OK {
                bail!("it says {}", response.status());
            }
            let body = Limited::new(response.into_body(), MESSAGES_MAX * MESSAGE_MAX_BYTES * 2)
                .collect()
                .await
                .map_err(|e| anyhow::anyhow!("{e}"))?;
            Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
        };
        tokio::time::timeout(STORE_TIMEOUT, asking).await.context("it takes too long")?
    }
}
