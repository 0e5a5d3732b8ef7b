//! The server on loopback, with a resolver of our own behind it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dns::{Forwarder, Listener, Record, Server, ServiceRecords, WireName, Zone, ZoneConfig};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record as MessageRecord, RecordType};
use stdx::{Clock, Prng};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn zone() -> Zone {
    let service = ServiceRecords { own: vec![Record::address("10.43.0.80".parse().unwrap())], ..Default::default() };
    let alias = Record::named(dns::RecordType::CNAME, &WireName::parse("known.example").unwrap());
    let external = ServiceRecords { own: vec![alias], ..Default::default() };
    let key = |name: &str| ("shop".to_owned(), name.to_owned());
    let config = ZoneConfig { domain: WireName::parse("cluster.local").unwrap(), server: None, ranges: Vec::new() };
    Zone::new(config, [(key("web"), Arc::new(service)), (key("ext"), Arc::new(external))], 1)
}

/// A resolver that knows `known.example` and counts what it is asked; its thread ends with the test process.
fn resolver() -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (address, count) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
            let name = message.queries[0].name().clone();
            if name == Name::from_ascii("known.example.").unwrap() {
                message.add_answer(MessageRecord::from_rdata(name, 60, RData::A(A::new(192, 0, 2, 7))));
            } else {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            // A forged answer first: it must not be taken.
            let mut forged = message.clone();
            forged.metadata.id = message.metadata.id.wrapping_add(1);
            socket.send_to(&forged.to_vec().unwrap(), client).unwrap();
            socket.send_to(&message.to_vec().unwrap(), client).unwrap();
        }
    });
    (address, count)
}

fn start(servers: Vec<SocketAddr>) -> (Server, SocketAddr) {
    let listener = Listener::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listener.addresses().unwrap()[0];
    let forwarder = Arc::new(Forwarder::new(servers, Prng::seeded(1), Clock::System));
    (Server::start(listener, zone(), forwarder).unwrap(), address)
}

fn query(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

async fn udp(server: SocketAddr, name: &str) -> String {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&query(name), server).await.unwrap();
    let mut buffer = [0; 4096];
    let answer = tokio::time::timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await;
    text(&buffer[..answer.unwrap().unwrap()])
}

async fn tcp(server: SocketAddr, name: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
    let query = query(name);
    stream.write_u16(query.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&query).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    text(&answer)
}

fn text(bytes: &[u8]) -> String {
    let message = Message::from_vec(bytes).unwrap();
    let answers: Vec<String> = message.answers.iter().map(|r| format!("{} {}", r.name, r.data)).collect();
    format!("{:?} {}", message.metadata.response_code, answers.join(", "))
}

#[tokio::test]
async fn ours_is_answered_and_the_rest_is_asked_once() {
    let (resolver, asked) = resolver();
    let (_server, address) = start(vec![resolver]);
    assert_eq!(udp(address, "web.shop.svc.cluster.local.").await, "NoError web.shop.svc.cluster.local. 10.43.0.80");
    assert_eq!(tcp(address, "web.shop.svc.cluster.local.").await, "NoError web.shop.svc.cluster.local. 10.43.0.80");
    assert_eq!(udp(address, "x.cluster.local.").await, "NXDomain ");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nothing of ours is ever asked elsewhere");
    for _ in 0..3 {
        assert_eq!(udp(address, "known.example.").await, "NoError known.example. 192.0.2.7");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the answer is remembered");
    assert_eq!(udp(address, "unknown.example.").await, "NXDomain ");
    let both = "NoError ext.shop.svc.cluster.local. known.example., known.example. 192.0.2.7";
    assert_eq!(udp(address, "ext.shop.svc.cluster.local.").await, both);
}

#[tokio::test]
async fn without_resolvers_foreign_names_fail_at_once() {
    let (_server, address) = start(Vec::new());
    assert_eq!(udp(address, "known.example.").await, "ServFail ");
    assert_eq!(tcp(address, "known.example.").await, "ServFail ");
    assert_eq!(udp(address, "ext.shop.svc.cluster.local.").await, "NoError ext.shop.svc.cluster.local. known.example.");
}

#[tokio::test]
async fn a_new_zone_counts_at_once() {
    let (server, address) = start(Vec::new());
    let config = ZoneConfig { domain: WireName::parse("cluster.local").unwrap(), server: None, ranges: Vec::new() };
    server.set_zone(Zone::new(config, [], 2));
    assert_eq!(udp(address, "web.shop.svc.cluster.local.").await, "NXDomain ");
}
