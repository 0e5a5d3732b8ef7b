//! Real connections on loopback: our server against our SPDY client and against a WebSocket client.

use std::convert::Infallible;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use streaming::remote_command::{self, Wanted};
use streaming::{ExitStatus, Streams, TerminalSize, client, port_forward};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// A server whose `/exec` echoes stdin to stdout, says how much on stderr, reports terminal sizes, and exits with
/// the code of the query; `/portforward` answers each connection with its port and what it got.
async fn serve() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(handle));
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

async fn handle(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let answered = if request.uri().path() == "/exec" {
        let wanted = Wanted { stdin: true, stdout: true, stderr: !query.contains("tty"), tty: query.contains("tty") };
        remote_command::accept(&mut request, wanted).map(|(response, pending)| {
            tokio::spawn(async move {
                let (streams, finisher) = pending.open().await.unwrap();
                let code = query.rsplit('=').next().unwrap().parse().unwrap();
                run(streams).await;
                finisher.finish(&ExitStatus::Code(code)).await.unwrap();
            });
            response
        })
    } else {
        port_forward::accept(&mut request, vec![80]).map(|(response, pending)| {
            tokio::spawn(async move {
                let mut connections = pending.open().await.unwrap();
                while let Some(mut connection) = connections.recv().await {
                    if connection.port == 81 {
                        connection.fail("connection refused").await.unwrap();
                        continue;
                    }
                    let mut got = [0u8; 4];
                    connection.reader.read_exact(&mut got).await.unwrap();
                    let answer = format!("{} {}", connection.port, String::from_utf8_lossy(&got));
                    connection.writer.write_all(answer.as_bytes()).await.unwrap();
                    connection.writer.shutdown().await.unwrap();
                    let (_, _, mut errors) = connection.into_parts();
                    errors.shutdown().await.unwrap();
                }
            });
            response
        })
    };
    Ok(match answered {
        Ok(response) => response.map(|()| Full::default()),
        Err(e) => Response::builder().status(e.status()).body(Full::from(e.to_string())).unwrap(),
    })
}

async fn run(mut streams: Streams) {
    let mut out = streams.stdout.take().unwrap();
    if let Ok(size) = streams.resize.try_recv() {
        panic!("a size before it was sent: {size:?}");
    }
    let mut input = Vec::new();
    let mut stdin = streams.stdin.take().unwrap();
    if streams.stderr.is_none() {
        let size = streams.resize.recv().await.unwrap();
        out.write_all(format!("{}x{};", size.width, size.height).as_bytes()).await.unwrap();
    }
    stdin.read_to_end(&mut input).await.unwrap();
    out.write_all(&input).await.unwrap();
    if let Some(mut err) = streams.stderr.take() {
        err.write_all(format!("{} bytes", input.len()).as_bytes()).await.unwrap();
    }
}

fn streams(input: &'static [u8]) -> (Streams, tokio::io::DuplexStream, tokio::io::DuplexStream, mpsc::Sender<TerminalSize>) {
    let (out_near, out_far) = tokio::io::duplex(1 << 20);
    let (err_near, err_far) = tokio::io::duplex(1 << 20);
    let (sizes, resize) = mpsc::channel(4);
    let streams = Streams { stdin: Some(Box::pin(input)), stdout: Some(Box::pin(out_far)), stderr: Some(Box::pin(err_far)), resize };
    (streams, out_near, err_near, sizes)
}

async fn text(mut from: tokio::io::DuplexStream) -> String {
    let mut all = String::new();
    from.read_to_string(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn a_command_over_spdy_gets_its_input_and_its_exit_code_comes_back() {
    let address = serve().await;
    for (code, expected) in [(0, ExitStatus::Code(0)), (3, ExitStatus::Code(3))] {
        let io = TcpStream::connect(address).await.unwrap();
        let (streams, out, err, _sizes) = streams(&[b'x'; 300_000]);
        let wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
        let status = client::remote_command(io, "test", &format!("/exec?code={code}"), wanted, streams).await.unwrap();
        assert_eq!(status, expected);
        assert_eq!(text(out).await.len(), 300_000);
        assert_eq!(text(err).await, "300000 bytes");
    }
}

#[tokio::test]
async fn terminal_sizes_arrive_over_spdy() {
    let address = serve().await;
    let io = TcpStream::connect(address).await.unwrap();
    let (streams, out, _err, sizes) = streams(b"hi");
    sizes.send(TerminalSize { width: 80, height: 24 }).await.unwrap();
    let wanted = Wanted { stdin: true, stdout: true, stderr: false, tty: true };
    client::remote_command(io, "test", "/exec?tty&code=0", wanted, streams).await.unwrap();
    assert_eq!(text(out).await, "80x24;hi");
}

#[tokio::test]
async fn a_port_over_spdy_and_its_refusal() {
    let address = serve().await;
    for (port, expected) in [(80, Ok("80 ping")), (81, Err("connection refused"))] {
        let io = TcpStream::connect(address).await.unwrap();
        let (mut near, far) = tokio::io::duplex(1024);
        let forwarding = tokio::spawn(client::port_forward(io, "test", "/portforward", port, far));
        near.write_all(b"ping").await.unwrap();
        near.shutdown().await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        let result = forwarding.await.unwrap();
        match expected {
            Ok(text) => assert_eq!(answer, text),
            Err(why) => assert!(result.unwrap_err().to_string().contains(why)),
        }
    }
}

async fn websocket(address: std::net::SocketAddr, path: &str, protocol: &str) -> tokio_tungstenite::WebSocketStream<TcpStream> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let io = TcpStream::connect(address).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async(request, io).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol.split(", ").next().unwrap());
    socket
}

#[tokio::test]
async fn a_command_over_websocket_version_5_sees_the_end_of_its_input() {
    let address = serve().await;
    let mut socket = websocket(address, "/exec?code=7", "v5.channel.k8s.io, v4.channel.k8s.io").await;
    socket.send(Message::Binary(b"\0hello".as_slice().into())).await.unwrap();
    socket.send(Message::Binary(vec![255, 0].into())).await.unwrap();
    let mut by_channel = std::collections::BTreeMap::<u8, Vec<u8>>::new();
    let mut closed = false;
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(data) => by_channel.entry(data[0]).or_default().extend_from_slice(&data[1..]),
            Message::Close(_) => closed = true,
            _ => {}
        }
    }
    assert_eq!(by_channel[&1], b"hello");
    assert_eq!(by_channel[&2], b"5 bytes");
    let status: serde_json::Value = serde_json::from_slice(&by_channel[&3]).unwrap();
    assert_eq!(status["details"]["causes"][0]["message"], "7");
    assert!(closed, "the connection must end with a close frame");
}

#[tokio::test]
async fn port_forward_over_plain_websocket_channels_starts_with_the_port() {
    let address = serve().await;
    let mut socket = websocket(address, "/portforward?ports=80", "v4.channel.k8s.io").await;
    assert_eq!(socket.next().await.unwrap().unwrap().into_data(), [0, 80, 0].as_slice());
    assert_eq!(socket.next().await.unwrap().unwrap().into_data(), [1, 80, 0].as_slice());
    socket.send(Message::Binary(b"\0ping".as_slice().into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap().into_data(), b"\x0080 ping".as_slice());
}

#[tokio::test]
async fn port_forward_through_a_websocket_tunnel_speaks_spdy_inside() {
    let address = serve().await;
    let socket = websocket(address, "/portforward", "SPDY/3.1+portforward.k8s.io").await;
    // The tunnel's client end: WebSocket messages as a byte stream, pumped through a duplex pipe.
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut sink, mut stream) = socket.split();
    let (mut far_read, mut far_write) = tokio::io::split(far);
    tokio::spawn(async move {
        while let Some(Ok(Message::Binary(data))) = stream.next().await {
            far_write.write_all(&data).await.unwrap();
        }
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok(n @ 1..) = far_read.read(&mut buffer).await {
            sink.send(Message::Binary(buffer[..n].to_vec().into())).await.unwrap();
        }
    });
    let (session, _incoming) = streaming::spdy::Session::start(near, streaming::spdy::Role::Client).unwrap();
    let _errors = session.open(&[("streamType", "error"), ("port", "80"), ("requestID", "1")]).await.unwrap();
    let mut data = session.open(&[("streamType", "data"), ("port", "80"), ("requestID", "1")]).await.unwrap();
    data.writer.write_all(b"ping").await.unwrap();
    let mut answer = String::new();
    data.reader.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "80 ping");
}

#[tokio::test]
async fn a_request_without_an_upgrade_is_told_so() {
    let address = serve().await;
    let mut io = TcpStream::connect(address).await.unwrap();
    io.write_all(b"GET /exec HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("missing upgrade headers"), "{answer}");
}
