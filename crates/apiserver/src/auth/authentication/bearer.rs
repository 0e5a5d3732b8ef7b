//! Where a request carries its token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};

/// Browsers cannot set headers on WebSockets, so the token may come as a subprotocol of this form.
const PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
/// Longer tokens are not looked at; the largest real ones have a few kilobytes.
const MAX_BYTES: usize = 64 * 1024;

/// The bearer token, if there is one.
pub(super) fn token(headers: &HeaderMap) -> Option<String> {
    from_authorization(headers).or_else(|| from_protocol(headers)).filter(|t| t.len() <= MAX_BYTES)
}

fn from_authorization(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let mut words = value.split(' ');
    let scheme = words.next()?;
    let token = words.next()?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn from_protocol(headers: &HeaderMap) -> Option<String> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let encoded = offered.flat_map(|v| v.split(',')).find_map(|p| p.trim().strip_prefix(PROTOCOL))?;
    let token = String::from_utf8(URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok()?).ok()?;
    (!token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_both_places() {
        for (name, value, want) in [
            (AUTHORIZATION, "Bearer abc", Some("abc")),
            (AUTHORIZATION, "bearer abc", Some("abc")),
            (AUTHORIZATION, "Basic abc", None),
            (AUTHORIZATION, "Bearer ", None),
            (AUTHORIZATION, "Bearer", None),
            (SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj", Some("abc")),
            (SEC_WEBSOCKET_PROTOCOL, "base64url.bearer.authorization.k8s.io.!!", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(token(&headers).as_deref(), want, "{value}");
        }
    }
}
