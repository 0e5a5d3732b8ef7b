//! The HTTP side: which protocol a request asks for, and the 101 answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{Request, Response, StatusCode};
use sha1::{Digest as _, Sha1};

use crate::error::Error;

const SPDY: &str = "SPDY/3.1";
const SPDY_PROTOCOL: &str = "x-stream-protocol-version";
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the connection becomes, with the negotiated subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    WebSocket(&'static str),
    Spdy(&'static str),
}

/// Chooses a protocol: the first of ours (best first) that the client offers.
pub(crate) fn negotiate(headers: &HeaderMap, websocket: &[&'static str], spdy: &[&'static str]) -> Result<Upgrade, Error> {
    let upgrade = headers.get(UPGRADE).and_then(|v| v.to_str().ok()).ok_or(Error::NoUpgrade("there is no Upgrade header"))?;
    let connection = values(headers, CONNECTION.as_str());
    if !connection.iter().any(|v| v.eq_ignore_ascii_case("upgrade")) {
        return Err(Error::NoUpgrade("there is no Connection: Upgrade header"));
    }
    if upgrade.eq_ignore_ascii_case("websocket") {
        let offered = values(headers, SEC_WEBSOCKET_PROTOCOL.as_str());
        return choose(&offered, websocket).map(Upgrade::WebSocket);
    }
    if upgrade.eq_ignore_ascii_case(SPDY) {
        let offered = values(headers, SPDY_PROTOCOL);
        return choose(&offered, spdy).map(Upgrade::Spdy);
    }
    Err(Error::NoUpgrade("neither websocket nor SPDY/3.1 is asked for"))
}

fn choose(offered: &[String], ours: &[&'static str]) -> Result<&'static str, Error> {
    let shared = ours.iter().find(|protocol| offered.iter().any(|o| o == *protocol));
    // A WebSocket client may name no protocol at all and gets the oldest.
    let default = ours.iter().find(|p| p.is_empty()).filter(|_| offered.is_empty());
    let refused = || Error::Negotiation { client: offered.join(" "), server: ours.join(" ") };
    shared.or(default).copied().ok_or_else(refused)
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect()
}

/// The answer that switches protocols.
pub(crate) fn switching<B>(request: &Request<B>, upgrade: Upgrade) -> Result<Response<()>, Error> {
    let mut response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS).header(CONNECTION, "Upgrade");
    response = match upgrade {
        Upgrade::Spdy(protocol) => response.header(UPGRADE, SPDY).header(SPDY_PROTOCOL, protocol),
        Upgrade::WebSocket(protocol) => {
            let key = request.headers().get(SEC_WEBSOCKET_KEY).ok_or(Error::NoUpgrade("there is no Sec-WebSocket-Key header"))?;
            response = response.header(UPGRADE, "websocket").header(SEC_WEBSOCKET_ACCEPT, accept_key(key.as_bytes()));
            if protocol.is_empty() { response } else { response.header(SEC_WEBSOCKET_PROTOCOL, protocol) }
        }
    };
    response.body(()).map_err(|e| Error::Protocol(e.to_string()))
}

fn accept_key(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(WEBSOCKET_GUID.as_bytes());
    STANDARD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse::<http::HeaderName>().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn the_best_shared_protocol_is_chosen() {
        let ws = ["v5.channel.k8s.io", "v4.channel.k8s.io", ""];
        let offer = [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-protocol", "v4.channel.k8s.io, v5.channel.k8s.io"),
        ];
        assert_eq!(negotiate(&asking(&offer), &ws, &[]).unwrap(), Upgrade::WebSocket("v5.channel.k8s.io"));
        let spdy = [("upgrade", "SPDY/3.1"), ("connection", "Upgrade"), ("x-stream-protocol-version", "v9.channel.k8s.io")];
        let error = negotiate(&asking(&spdy), &ws, &["v4.channel.k8s.io"]).unwrap_err();
        assert_eq!(error.status(), 403);
        assert_eq!(negotiate(&asking(&offer[..2]), &ws, &[]).unwrap(), Upgrade::WebSocket(""));
        assert_eq!(negotiate(&asking(&offer[2..]), &ws, &[]).unwrap_err().status(), 400);
    }

    #[test] // RFC 6455, section 1.3
    fn the_key_is_answered_as_the_rfc_says() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
