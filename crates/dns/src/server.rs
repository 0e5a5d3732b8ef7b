//! Packets in and out. UDP is answered on its own threads in place, without a task per query; what must be asked
//! elsewhere, and TCP, goes to the async side.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::sync::mpsc;

use crate::answer::{Reply, answer};
use crate::forward::Forwarder;
use crate::tcp;
use crate::zone::Zone;

/// Threads per UDP address: enough for 200,000 queries a second on two cores.
const UDP_THREADS: usize = 2;
/// A UDP thread needs little; the default of 2 MiB would only be reserved.
const STACK: usize = 256 * 1024;
/// The largest query that is read; real ones are far smaller.
const MAX_QUERY: usize = 4096;
/// How often a UDP thread looks whether it should end.
const LOOK_UP: Duration = Duration::from_millis(500);
/// Queries that wait for the async side. When it is full the query is dropped: the client asks again.
const MAX_WAITING: usize = 1024;
const BACKLOG: i32 = 128;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// In a stream.
    Tcp,
}

impl Transport {
    /// The most bytes of a response; `None` when the client's own limit counts.
    pub(crate) fn limit(self) -> Option<usize> {
        match self {
            Self::Udp => None,
            Self::Tcp => Some(usize::from(u16::MAX)),
        }
    }
}

/// Bound sockets that nobody reads yet.
#[derive(Debug)]
pub struct Listener {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl Listener {
    /// Binds UDP and TCP sockets at each of `addresses` in the calling thread's network namespace.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut listener = Self { udp: Vec::new(), tcp: Vec::new() };
        for address in addresses {
            let mut address = *address;
            for _ in 0..UDP_THREADS {
                let socket = bind_udp(address)?;
                // Port 0 means any: all sockets of an address must agree on one.
                address = socket.local_addr()?;
                listener.udp.push(socket);
            }
            listener.tcp.push(bind_tcp(address)?);
        }
        Ok(listener)
    }

    /// The addresses it is bound to.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.tcp.iter().map(TcpListener::local_addr).collect()
    }
}

fn socket(address: SocketAddr, kind: SocketType) -> io::Result<rustix::fd::OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?)
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let fd = socket(address, SocketType::DGRAM)?;
    sockopt::set_socket_reuseport(&fd, true)?;
    rustix::net::bind(&fd, &address)?;
    let socket = UdpSocket::from(fd);
    socket.set_read_timeout(Some(LOOK_UP))?;
    Ok(socket)
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let fd = socket(address, SocketType::STREAM)?;
    // After a restart connections of the old process may still linger on the port.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    rustix::net::bind(&fd, &address)?;
    rustix::net::listen(&fd, BACKLOG)?;
    let listener = TcpListener::from(fd);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A running server; it ends when the value is dropped.
#[derive(Debug)]
pub struct Server {
    zone: Arc<ArcSwap<Zone>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

/// A UDP query that the zone cannot answer alone.
#[derive(Debug)]
struct Elsewhere {
    packet: Vec<u8>,
    client: SocketAddr,
    socket: Arc<UdpSocket>,
    reply: Reply,
}

impl Server {
    /// Answers from `zone` on the sockets of `listener`. Must be called inside a tokio runtime.
    pub fn start(listener: Listener, zone: Zone, forwarder: Arc<Forwarder>) -> io::Result<Self> {
        let zone = Arc::new(ArcSwap::from_pointee(zone));
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        for (n, socket) in listener.udp.into_iter().enumerate() {
            let (zone, stop, sender) = (Arc::clone(&zone), Arc::clone(&stop), sender.clone());
            let work = move || serve_udp(&Arc::new(socket), &zone, &stop, &sender);
            thread::Builder::new().name(format!("dns-udp-{n}")).stack_size(STACK).spawn(work)?;
        }
        let mut tasks = vec![tokio::spawn(answer_elsewhere(receiver, Arc::clone(&forwarder)))];
        for listener in listener.tcp {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tasks.push(tokio::spawn(tcp::serve(listener, Arc::clone(&zone), Arc::clone(&forwarder))));
        }
        Ok(Self { zone, stop, tasks })
    }

    /// Answers from another zone from now on.
    pub fn set_zone(&self, zone: Zone) {
        self.zone.store(Arc::new(zone));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn serve_udp(socket: &Arc<UdpSocket>, zone: &ArcSwap<Zone>, stop: &AtomicBool, elsewhere: &mpsc::Sender<Elsewhere>) {
    let mut buffer = vec![0; MAX_QUERY];
    let mut turn = 0usize;
    while !stop.load(Ordering::Relaxed) {
        // Errors are time-outs and refusals of earlier answers: the next packet is as good as any.
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        let packet = buffer.get(..length).unwrap_or_default();
        turn = turn.wrapping_add(1);
        match answer(packet, &zone.load(), None, turn) {
            Reply::Send(response) => drop(socket.send_to(&response, client)),
            Reply::Ignore => {}
            reply => {
                let query = Elsewhere { packet: packet.to_vec(), client, socket: Arc::clone(socket), reply };
                // Full: see MAX_WAITING.
                let _ = elsewhere.try_send(query);
            }
        }
    }
}

async fn answer_elsewhere(mut queries: mpsc::Receiver<Elsewhere>, forwarder: Arc<Forwarder>) {
    while let Some(query) = queries.recv().await {
        let forwarder = Arc::clone(&forwarder);
        // Bounded by the forwarder: beyond its slots it answers at once.
        tokio::spawn(async move {
            if let Some(response) = ask(&forwarder, &query.packet, &query.reply, Transport::Udp).await {
                // A UDP socket takes a datagram without waiting, or drops it.
                let _ = query.socket.send_to(&response, query.client);
            }
        });
    }
}

/// Asks as `reply` says.
pub(crate) async fn ask(forwarder: &Forwarder, packet: &[u8], reply: &Reply, transport: Transport) -> Option<Vec<u8>> {
    match reply {
        Reply::Forward => forwarder.resolve(packet, transport).await,
        Reply::Follow(target) => forwarder.follow(packet, target, transport).await,
        Reply::Send(_) | Reply::Ignore => None,
    }
}
