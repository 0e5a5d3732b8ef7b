//! `/healthz`, `/livez`, `/readyz` and their single checks.

use std::fmt::Write as _;

use http::{Response, StatusCode};

use crate::body::Body;
use crate::request::Query;
use crate::respond;
use crate::server::Server;

const CHECKS: [&str; 3] = ["ping", "etcd", "informer-sync"];

/// Answers a health path; `None` for any other.
pub(super) async fn serve(server: &Server, path: &str, parts: &http::request::Parts) -> Option<Response<Body>> {
    let mut segments = path.trim_start_matches('/').splitn(2, '/');
    let probe = segments.next().filter(|p| matches!(*p, "healthz" | "livez" | "readyz"))?;
    if let Some(one) = segments.next() {
        let name = CHECKS.iter().find(|c| **c == one)?;
        return Some(match check(server, name).await {
            Ok(()) => respond::text(StatusCode::OK, "ok"),
            Err(why) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")),
        });
    }
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut report = String::new();
    let mut healthy = true;
    for name in CHECKS.iter().filter(|c| !excluded.contains(c)) {
        let line = match check(server, name).await {
            Ok(()) => writeln!(report, "[+]{name} ok"),
            Err(_) => {
                healthy = false;
                writeln!(report, "[-]{name} failed: reason withheld")
            }
        };
        // Writing to a string cannot fail.
        let _ = line;
    }
    Some(match (healthy, query.last("verbose").is_some()) {
        (true, false) => respond::text(StatusCode::OK, "ok"),
        (true, true) => respond::text(StatusCode::OK, format!("{report}{probe} check passed\n")),
        (false, _) => respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{report}{probe} check failed\n")),
    })
}

async fn check(server: &Server, name: &str) -> Result<(), String> {
    match name {
        "etcd" => server.storage.store().revision().await.map(|_| ()).map_err(|e| e.to_string()),
        "informer-sync" => server.storage.healthy().map_err(|e| e.to_string()),
        _ => Ok(()),
    }
}
