//! One question to one name server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use crate::server::Transport;
use crate::wire::{HEADER, Query};

/// The most that a name server may send by UDP.
const MAX_DATAGRAM: usize = 4096;
/// Datagrams that are no answer to the question before one gives up: somebody guesses.
const MAX_STRAY: usize = 16;

/// Asks `server` by a fresh socket (so with a fresh port) under the number `id`, and gives the answer the client's own
/// number. Answers to anything but the question are not taken.
pub(super) async fn ask(query: &Query<'_>, server: SocketAddr, id: u16, transport: Transport) -> io::Result<Vec<u8>> {
    let mut packet = query.packet().to_vec();
    set_id(&mut packet, &id.to_be_bytes());
    let mut response = match transport {
        Transport::Udp => ask_udp(&packet, query, server).await?,
        Transport::Tcp => ask_tcp(&packet, query, server).await?,
    };
    set_id(&mut response, query.packet().get(..2).unwrap_or(&[0, 0]));
    Ok(response)
}

async fn ask_udp(packet: &[u8], query: &Query<'_>, server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; MAX_DATAGRAM];
    for _ in 0..MAX_STRAY {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).unwrap_or_default();
        if answers(answer, packet, query) {
            return Ok(answer.to_vec());
        }
    }
    Err(io::Error::other("it sent answers to other questions"))
}

async fn ask_tcp(packet: &[u8], query: &Query<'_>, server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(packet);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut response = vec![0; usize::from(length)];
    stream.read_exact(&mut response).await?;
    if answers(&response, packet, query) { Ok(response) } else { Err(io::Error::other("it answered another question")) }
}

fn answers(response: &[u8], asked: &[u8], query: &Query<'_>) -> bool {
    let is_response = response.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let question = query.question_bytes();
    let echoed = response.get(HEADER..HEADER + question.len());
    is_response && response.get(..2) == asked.get(..2) && echoed.is_some_and(|e| e.eq_ignore_ascii_case(question))
}

fn set_id(packet: &mut [u8], id: &[u8]) {
    if let Some(slot) = packet.get_mut(..2) {
        slot.copy_from_slice(id);
    }
}
