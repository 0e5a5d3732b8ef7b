//! A node, its pods and a machine outside, as network namespaces that vanish with the value that made them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use network::podnet::{Config, DEFAULT_BRIDGE, HostPort, PodNet};
use network::rt::{Request, RouteSpec, RouteTarget, Router};
use network::{Namespace, netns};
use tempfile::TempDir;

/// The node's address on the link to the outside machine.
pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The outside machine.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// A service address that the node answers itself.
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 10);
/// How long a test waits for what must happen at once: far above it, so that a slow machine does not fail.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct World {
    pub(crate) node: Namespace,
    pub(crate) outside: Namespace,
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Namespace::create(&dir.path().join("ns"), "node").unwrap();
        let outside = Namespace::create(&dir.path().join("ns"), "outside").unwrap();
        let mut at_node = Router::open_in(&node).unwrap();
        let mut at_outside = Router::open_in(&outside).unwrap();
        let pair = Request::AddVeth {
            name: "uplink".into(),
            mac: [2, 0, 0, 0, 0, 1],
            peer: "uplink".into(),
            peer_mac: [2, 0, 0, 0, 0, 9],
            peer_namespace: outside.clone(),
            mtu: 1500,
        };
        at_node.apply(&pair).unwrap();
        for (router, own) in [(&mut at_node, NODE), (&mut at_outside, OUTSIDE)] {
            let address = format!("{own}/32").parse().unwrap();
            let subnet = RouteSpec {
                destination: "192.0.2.0/24".parse().unwrap(),
                target: RouteTarget::Link { link: "uplink".into(), source: Some(own.into()) },
                metric: 0,
            };
            router.apply(&Request::SetUp("lo".into())).unwrap();
            router.apply(&Request::AddAddress { link: "uplink".into(), address }).unwrap();
            router.apply(&Request::SetUp("uplink".into())).unwrap();
            router.apply(&Request::SetRoute(subnet)).unwrap();
        }
        Self { node, outside, dir }
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            node: self.node.clone(),
            bridge: DEFAULT_BRIDGE.into(),
            pod_cidr: "10.42.0.0/24".parse().unwrap(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            local_addresses: vec![DNS],
            mtu: 1500,
            state_dir: self.dir.path().join("ipam"),
        }
    }

    pub(crate) fn pod_namespace(&self, name: &str) -> Namespace {
        Namespace::create(&self.dir.path().join("ns"), name).unwrap()
    }

    /// Makes a pod's namespace and connects it.
    pub(crate) async fn pod(&self, net: &PodNet, name: &str, ports: &[HostPort]) -> Pod {
        let namespace = self.pod_namespace(name);
        let got = net.add(name, namespace.path(), ports).await.unwrap();
        Pod { namespace, address: got.addresses[0] }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let found = std::fs::read_dir(self.dir.path().join("ns")).into_iter().flatten().flatten();
        let paths: Vec<PathBuf> = found.map(|e| e.path()).collect();
        for path in paths {
            let _ = netns::delete(&path);
        }
    }
}

pub(crate) struct Pod {
    pub(crate) namespace: Namespace,
    pub(crate) address: IpAddr,
}

/// Answers each TCP connection in `namespace` with `name` and the peer's address, until the process ends.
pub(crate) fn serve_tcp(namespace: &Namespace, port: u16, name: &str) {
    let listener = namespace.run(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()).unwrap();
    let name = name.to_owned();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else {
                return;
            };
            let peer = connection.peer_addr().map(|p| p.ip().to_string()).unwrap_or_default();
            let _ = connection.write_all(format!("{name} {peer}").as_bytes());
            let _ = connection.shutdown(Shutdown::Write);
        }
    });
}

/// Answers each UDP packet in `namespace` with `name` and the peer's address.
pub(crate) fn serve_udp(namespace: &Namespace, port: u16, name: &str) {
    let socket = namespace.run(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()).unwrap();
    let name = name.to_owned();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

/// What a TCP server answers to a client in `namespace`, or the kind of error.
pub(crate) fn tcp(namespace: &Namespace, to: impl Into<IpAddr>, port: u16) -> String {
    let to = SocketAddr::new(to.into(), port);
    let work = move || {
        let mut connection = TcpStream::connect_timeout(&to, PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        connection.read_to_string(&mut text)?;
        Ok::<String, std::io::Error>(text)
    };
    namespace.run(work).unwrap().unwrap_or_else(|e| format!("{:?}", e.kind()))
}

/// What a UDP server answers to a packet from `socket`, or the kind of error.
pub(crate) fn ask(socket: &UdpSocket, to: impl Into<IpAddr>, port: u16) -> String {
    let mut buffer = [0; 64];
    let asked = socket.send_to(b"?", (to.into(), port)).and_then(|_| socket.recv_from(&mut buffer));
    match asked {
        Ok((length, _)) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
        Err(e) => format!("{:?}", e.kind()),
    }
}

/// A UDP socket in `namespace` that waits for an answer as long as a test may.
pub(crate) fn udp(namespace: &Namespace) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}
