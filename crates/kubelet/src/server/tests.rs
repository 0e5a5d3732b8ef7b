use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty};
use rustls::pki_types::ServerName;
use serde_json::json;
use stdx::Clock;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::config::Server;
use crate::testing::Rig;

struct Place {
    rig: Rig,
    authority: pki::Authority,
    port: u16,
}

/// A kubelet whose node server trusts one authority, with a ready pod that has logged a line.
async fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let authority = pki::Authority::open(dir.path(), "ca", &Clock::System).unwrap();
    let issued = authority.issue(&pki::Identity::server("node-1", vec!["node-1".into()], vec![]), &Clock::System).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = Arc::new(pki::trust_only(authority.certificate_pem()).unwrap());
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).allow_unauthenticated().build().unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = builder.with_client_cert_verifier(verifier).with_cert_resolver(pki::RotatingCertificate::new(&issued).unwrap());
    // Freed at once and taken again below; another process may come between, but not on purpose.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let rig = Rig::start_with(|config| config.server = Some(Server { bind: SocketAddr::from(([127, 0, 0, 1], port)), tls: Arc::new(tls) }));
    rig.create("web", json!({"containers": [{"name": "c"}]}));
    rig.until("web", "running", |p| p["status"]["phase"] == "Running").await;
    let log = rig.dir.path().join("logs/pods/ns_web_uid-web/c/0.log");
    std::fs::write(log, "2026-01-01T00:00:00Z stdout F hello\n").unwrap();
    Place { rig, authority, port }
}

impl Place {
    async fn connect(&self, group: Option<&str>) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let config = match group {
            Some(group) => {
                let issued = self.authority.issue(&pki::Identity::client("somebody", Some(group)), &Clock::System).unwrap();
                pki::client_config(pki::RotatingCertificate::new(&issued).unwrap(), self.authority.certificate_pem()).unwrap()
            }
            None => {
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
                builder.with_root_certificates(pki::trust_only(self.authority.certificate_pem()).unwrap()).with_no_client_auth()
            }
        };
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("node-1").unwrap(), stream).await.unwrap()
    }

    async fn get(&self, group: Option<&str>, path: &str) -> (u16, String) {
        let stream = self.connect(group).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(path).header("host", "node-1").body(Empty::<bytes::Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

#[tokio::test]
async fn only_those_who_may_are_answered() {
    let place = place().await;
    assert_eq!(place.get(None, "/pods").await, (401, "Unauthorized".into()));
    assert_eq!(place.get(Some("nobodies"), "/pods").await.0, 403);
    let (status, body) = place.get(Some("system:masters"), "/pods").await;
    assert!(status == 200 && body.contains("uid-web"), "{body}");
    assert_eq!(place.get(Some("system:masters"), "/healthz").await, (200, "ok".into()));
    assert_eq!(place.get(Some("system:masters"), "/nothing").await.0, 404);
}

#[tokio::test]
async fn logs_and_figures_are_served() {
    let place = place().await;
    let get = async |path: &str| place.get(Some("system:masters"), path).await;
    assert_eq!(get("/containerLogs/ns/web/c").await, (200, "hello\n".into()));
    assert_eq!(get("/containerLogs/ns/web/c?timestamps=true").await.1, "2026-01-01T00:00:00Z hello\n");
    assert_eq!(get("/containerLogs/ns/web/x").await, (404, "container \"x\" not found in pod \"web\"".into()));
    assert_eq!(get("/containerLogs/ns/web/c?previous=true").await.0, 400);
    assert!(get("/metrics/resource").await.1.contains("\nnode_memory_working_set_bytes "));
    assert!(get("/metrics").await.1.contains("\nkubelet_running_pods 1\n"));
    assert!(get("/stats/summary").await.1.contains("\"nodeName\":\"node-1\""));
    place.rig.runtime.exit("c", 0);
    place.rig.until("web", "restarted", |p| p["status"]["containerStatuses"][0]["restartCount"] == 1).await;
    assert_eq!(get("/containerLogs/ns/web/c?previous=true&follow=true").await, (200, "hello\n".into()));
}

#[tokio::test]
async fn commands_and_connections_reach_the_runtime() {
    let place = place().await;
    let (ours, theirs) = tokio::io::duplex(1024);
    let streams = streaming::Streams { stdin: None, stdout: Some(Box::pin(theirs)), stderr: None, resize: tokio::sync::mpsc::channel(1).1 };
    let wanted = streaming::remote_command::Wanted { stdout: true, ..Default::default() };
    let io = place.connect(Some("system:masters")).await;
    let status = streaming::client::remote_command(io, "node-1", "/exec/ns/web/c?command=echo&command=a%20b&output=1", wanted, streams)
        .await
        .unwrap();
    assert_eq!(status, streaming::ExitStatus::Code(7));
    let mut text = String::new();
    tokio::io::BufReader::new(ours).read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "echo a b");
    let (mut ours, theirs) = tokio::io::duplex(1024);
    let io = place.connect(Some("system:masters")).await;
    let forwarding = tokio::spawn(async move { streaming::client::port_forward(io, "node-1", "/portForward/ns/web", 80, theirs).await });
    let mut text = [0; 7];
    ours.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"port 80");
    drop(ours);
    forwarding.await.unwrap().unwrap();
}
