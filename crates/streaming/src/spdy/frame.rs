//! Frames on the wire (SPDY protocol draft 3.1, section 2.2).

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::headers::{Decoder, Encoder, Pairs};
use crate::error::Error;

/// Peers send at most 32 KiB at once; a frame may announce 16 MiB.
const FRAME_MAX_BYTES: usize = 1 << 20;
const VERSION: u16 = 3;
const FIN: u8 = 1;

/// What may pass on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Open {
        stream: u32,
        headers: Pairs,
        last: bool,
    },
    Reply {
        stream: u32,
        headers: Pairs,
        last: bool,
    },
    Headers {
        stream: u32,
        last: bool,
    },
    Data {
        stream: u32,
        data: Bytes,
        last: bool,
    },
    Reset {
        stream: u32,
        status: u32,
    },
    Window {
        stream: u32,
        bytes: u32,
    },
    Ping(u32),
    GoAway {
        last_good: u32,
    },
    /// Settings and anything newer: nothing that we act on.
    Ignored,
}

pub(super) async fn read(io: &mut (impl AsyncRead + Unpin), decoder: &mut Decoder) -> Result<Option<Frame>, Error> {
    let mut head = [0u8; 8];
    match io.read_exact(&mut head).await {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    let [a, b, c, d, flags, l1, l2, l3] = head;
    let length = u32::from_be_bytes([0, l1, l2, l3]) as usize;
    if length > FRAME_MAX_BYTES {
        return Err(Error::Protocol(format!("a frame of {length} bytes, at most {FRAME_MAX_BYTES} are taken")));
    }
    let mut payload = vec![0u8; length];
    io.read_exact(&mut payload).await?;
    let last = flags & FIN != 0;
    if a & 0x80 == 0 {
        return Ok(Some(Frame::Data { stream: u32::from_be_bytes([a, b, c, d]), data: payload.into(), last }));
    }
    let version = u16::from_be_bytes([a & 0x7f, b]);
    if version != VERSION {
        return Err(Error::Protocol(format!("spdy version {version}, only {VERSION} is spoken here")));
    }
    control(u16::from_be_bytes([c, d]), last, &payload, decoder).map(Some)
}

fn control(kind: u16, last: bool, payload: &[u8], decoder: &mut Decoder) -> Result<Frame, Error> {
    let number = |at: usize| -> Result<u32, Error> {
        let bytes = payload.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map(|b| u32::from_be_bytes(*b)).ok_or_else(|| Error::Protocol(format!("a control frame {kind} is cut short")))
    };
    let stream = |at: usize| number(at).map(|n| n & 0x7fff_ffff);
    Ok(match kind {
        1 => Frame::Open { stream: stream(0)?, headers: decoder.decode(payload.get(10..).unwrap_or_default())?, last },
        2 => Frame::Reply { stream: stream(0)?, headers: decoder.decode(payload.get(4..).unwrap_or_default())?, last },
        3 => Frame::Reset { stream: stream(0)?, status: number(4)? },
        6 => Frame::Ping(number(0)?),
        7 => Frame::GoAway { last_good: stream(0)? },
        8 => {
            // Decoded although unused: the compression state goes on.
            decoder.decode(payload.get(4..).unwrap_or_default())?;
            Frame::Headers { stream: stream(0)?, last }
        }
        9 => Frame::Window { stream: stream(0)?, bytes: stream(4)? },
        _ => Frame::Ignored,
    })
}

pub(super) fn write(frame: &Frame, encoder: &mut Encoder) -> Result<Bytes, Error> {
    let mut payload = BytesMut::new();
    let (kind, flags) = match frame {
        Frame::Data { stream, data, last } => {
            let mut out = BytesMut::with_capacity(8 + data.len());
            out.put_u32(*stream & 0x7fff_ffff);
            put_length(&mut out, if *last { FIN } else { 0 }, data.len());
            out.extend_from_slice(data);
            return Ok(out.freeze());
        }
        Frame::Open { stream, headers, last } => {
            payload.put_u32(*stream);
            payload.put_u32(0);
            payload.put_u16(0);
            payload.extend_from_slice(&encoder.encode(headers)?);
            (1, u8::from(*last))
        }
        Frame::Reply { stream, headers, last } => {
            payload.put_u32(*stream);
            payload.extend_from_slice(&encoder.encode(headers)?);
            (2, u8::from(*last))
        }
        Frame::Reset { stream, status } => {
            payload.put_u32(*stream);
            payload.put_u32(*status);
            (3, 0)
        }
        Frame::Ping(id) => {
            payload.put_u32(*id);
            (6, 0)
        }
        Frame::GoAway { last_good } => {
            payload.put_u32(*last_good);
            payload.put_u32(0);
            (7, 0)
        }
        Frame::Window { stream, bytes } => {
            payload.put_u32(*stream);
            payload.put_u32(*bytes);
            (9, 0)
        }
        Frame::Headers { .. } | Frame::Ignored => return Ok(Bytes::new()),
    };
    let mut out = BytesMut::with_capacity(8 + payload.len());
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    put_length(&mut out, flags, payload.len());
    out.extend_from_slice(&payload);
    Ok(out.freeze())
}

fn put_length(out: &mut BytesMut, flags: u8, length: usize) {
    let [_, a, b, c] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&[flags, a, b, c]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_survive_the_wire() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new());
        let frames = [
            Frame::Open { stream: 1, headers: vec![("streamtype".into(), "error".into())], last: false },
            Frame::Reply { stream: 1, headers: Vec::new(), last: true },
            Frame::Data { stream: 1, data: Bytes::from_static(b"hello"), last: true },
            Frame::Reset { stream: 3, status: 5 },
            Frame::Window { stream: 3, bytes: 70_000 },
            Frame::Ping(7),
            Frame::GoAway { last_good: 3 },
        ];
        let mut wire = Vec::new();
        for frame in &frames {
            wire.extend_from_slice(&write(frame, &mut encoder).unwrap());
        }
        let mut wire = wire.as_slice();
        for frame in frames {
            assert_eq!(read(&mut wire, &mut decoder).await.unwrap(), Some(frame));
        }
        assert_eq!(read(&mut wire, &mut decoder).await.unwrap(), None);
    }

    proptest::proptest! {
        #[test]
        fn reading_never_panics(wire in proptest::collection::vec(0u8..=255, 0..200)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (mut wire, mut decoder) = (wire.as_slice(), Decoder::new());
                while let Ok(Some(_)) = read(&mut wire, &mut decoder).await {}
            });
        }
    }
}
