//! Registry credentials from pull secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cri::v1::AuthConfig;
use k8s_openapi::api::core::v1::Secret;
use serde_json::Value;

use super::name::Name;

/// The credentials in `secrets` for an image, the best match first.
pub fn matching(secrets: &[std::sync::Arc<Secret>], image: &Name) -> Vec<AuthConfig> {
    let mut found: Vec<(usize, AuthConfig)> = Vec::new();
    for (registry, entry) in secrets.iter().flat_map(|s| entries(s)) {
        if let Some(length) = match_length(&registry, image)
            && let Some(auth) = credentials(&registry, &entry)
        {
            found.push((length, auth));
        }
    }
    // Longer registry paths are more specific; the sort keeps the secrets' order among equals.
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.into_iter().map(|(_, auth)| auth).collect()
}

/// The registries of one secret, in either of its two formats.
fn entries(secret: &Secret) -> Vec<(String, Value)> {
    let Some(data) = &secret.data else { return Vec::new() };
    let read = |key: &str| data.get(key).and_then(|text| serde_json::from_slice::<Value>(&text.0).ok());
    let all = match secret.type_.as_deref() {
        Some("kubernetes.io/dockercfg") => read(".dockercfg"),
        _ => read(".dockerconfigjson").and_then(|mut v| v.get_mut("auths").map(Value::take)),
    };
    match all {
        Some(Value::Object(map)) => map.into_iter().collect(),
        _ => Vec::new(),
    }
}

fn credentials(registry: &str, entry: &Value) -> Option<AuthConfig> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    let auth = text("auth");
    if !auth.is_empty() {
        let decoded = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
        let (user, pass) = decoded.split_once(':')?;
        (username, password) = (user.to_owned(), pass.trim_end_matches('\0').to_owned());
    }
    let identity_token = text("identitytoken");
    if username.is_empty() && password.is_empty() && identity_token.is_empty() {
        return None;
    }
    Some(AuthConfig { username, password, identity_token, server_address: registry.to_owned(), ..AuthConfig::default() })
}

/// How much of the image's name a registry entry covers; `None` when it is another registry. `*` stands for one host label.
fn match_length(registry: &str, image: &Name) -> Option<usize> {
    let registry = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let (host, path) = registry.split_once('/').unwrap_or((registry, ""));
    // Docker Hub's entry has its API's address.
    let (host, path) = if host == "index.docker.io" {
        ("docker.io", path.trim_start_matches("v1").trim_start_matches("v2").trim_start_matches('/'))
    } else {
        (host, path)
    };
    let (wanted, own): (Vec<&str>, Vec<&str>) = (host.split('.').collect(), image.host.split('.').collect());
    let same = wanted.len() == own.len() && wanted.iter().zip(&own).all(|(w, o)| w == o || *w == "*");
    let below = path.is_empty() || image.repository == path || image.repository.strip_prefix(path).is_some_and(|r| r.starts_with('/'));
    (same && below).then_some(path.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_most_specific_entry_comes_first() {
        let auths = json!({"auths": {
            "r.example": {"auth": STANDARD.encode("u:p")}, "https://r.example/team": {"username": "t", "password": "q"},
            "*.example": {"username": "w", "password": "x"}, "other.example": {"username": "n", "password": "n"}}});
        let secret: Secret = serde_json::from_value(
            json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": STANDARD.encode(auths.to_string())}}),
        )
        .unwrap();
        let secrets = [std::sync::Arc::new(secret)];
        let users = |image: &str| matching(&secrets, &Name::parse(image).unwrap()).iter().map(|a| a.username.clone()).collect::<Vec<_>>();
        assert_eq!(users("r.example/team/app:1")[0], "t");
        assert!(users("r.example/teams/app").contains(&"u".into()) && !users("r.example/teams/app").contains(&"t".into()));
        assert!(users("busybox").is_empty());
    }
}
