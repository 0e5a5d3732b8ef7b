//! The `Www-Authenticate` challenge and the token that answers it (distribution specification, token authentication).

use std::collections::BTreeMap;

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user and a password with each request.
    Basic,
    /// A token from `realm`.
    Bearer { realm: String, parameters: BTreeMap<String, String> },
}

/// Parses one header value; `None` if it is no challenge that we know.
pub(super) fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = BTreeMap::new();
    let mut rest = rest.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.insert(key.trim().to_ascii_lowercase(), value.to_owned());
        rest = next.trim_start_matches([',', ' ']);
    }
    let realm = parameters.remove("realm")?;
    Some(Challenge::Bearer { realm, parameters })
}

/// The URL that hands out the token.
pub(super) fn url(realm: &str, parameters: &BTreeMap<String, String>, repository_scope: &str) -> String {
    let mut query: Vec<String> = Vec::new();
    for (key, value) in parameters {
        if key == "service" || key == "scope" {
            query.push(format!("{key}={}", encoded(value)));
        }
    }
    if !parameters.contains_key("scope") {
        query.push(format!("scope={}", encoded(repository_scope)));
    }
    let joint = if realm.contains('?') { '&' } else { '?' };
    format!("{realm}{joint}{}", query.join("&"))
}

/// The token in the answer, under either of its two names.
pub(super) fn from_answer(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    ["token", "access_token"].iter().find_map(|name| answer.get(name)?.as_str().map(str::to_owned))
}

fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_names_its_token_server() {
        let header = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let Some(Challenge::Bearer { realm, parameters }) = parse(header) else { panic!("not parsed") };
        assert_eq!(
            url(&realm, &parameters, "repository:x:pull"),
            "https://auth.example/token?scope=repository:a/b:pull%2Cpush&service=registry.example"
        );
        assert_eq!(parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(parse("Negotiate"), None);
        assert_eq!(from_answer(br#"{"access_token":"t"}"#), Some("t".into()));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(header in "\\PC{0,80}") {
            let _ = parse(&header);
        }
    }
}
