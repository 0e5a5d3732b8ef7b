//! Bootstrap tokens: `id.secret`, known by a secret in `kube-system`; with them new nodes join.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use crate::auth::objects::{Objects, keys};
use crate::identity::UserInfo;

const KIND: &str = "bootstrap.kubernetes.io/token";
const GROUP: &str = "system:bootstrappers";

/// `Ok(None)` if it does not look like a bootstrap token, or there is none of this id.
pub(super) fn user(token: &str, objects: &dyn Objects, now: SystemTime) -> Result<Option<UserInfo>, String> {
    let Some((id, secret)) = parse(token) else { return Ok(None) };
    let Some(json) = objects.get(&format!("{}kube-system/bootstrap-token-{id}", keys::SECRETS)) else { return Ok(None) };
    let stored: Value = serde_json::from_slice(&json).map_err(|e| format!("reading the bootstrap token's secret: {e}"))?;
    let deleted = stored.pointer("/metadata/deletionTimestamp").is_some_and(|t| !t.is_null());
    let field = |key: &str| -> String {
        let encoded = stored.get("data").and_then(|d| d.get(key)).and_then(Value::as_str).unwrap_or_default();
        STANDARD.decode(encoded).ok().and_then(|b| String::from_utf8(b).ok()).unwrap_or_default()
    };
    // Digests are compared, so that the time it takes tells nothing about the secret.
    let same = digest(&SHA256, field("token-secret").as_bytes()).as_ref() == digest(&SHA256, secret.as_bytes()).as_ref();
    if deleted || stored.get("type").and_then(Value::as_str) != Some(KIND) || !same || field("token-id") != id {
        return Ok(None);
    }
    if expired(&field("expiration"), now) || field("usage-bootstrap-authentication") != "true" {
        return Ok(None);
    }
    let extra = field("auth-extra-groups");
    let extra: Vec<&str> = extra.split(',').filter(|g| !g.is_empty()).collect();
    if let Some(bad) = extra.iter().find(|g| !is_group(g)) {
        return Err(format!("bootstrap group {bad:?} is invalid (must match \\Asystem:bootstrappers:[a-z0-9:-]{{0,255}}[a-z0-9]\\z)"));
    }
    let groups: Vec<&str> = [GROUP].into_iter().chain(extra).collect();
    Ok(Some(UserInfo::new(&format!("system:bootstrap:{id}"), &groups)))
}

fn parse(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let fits = |s: &str, len: usize| s.len() == len && s.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    (fits(id, 6) && fits(secret, 16)).then_some((id, secret))
}

/// No expiration means for ever; one that cannot be read has passed.
fn expired(at: &str, now: SystemTime) -> bool {
    if at.is_empty() {
        return false;
    }
    let Ok(at) = at.parse::<jiff::Timestamp>() else { return true };
    jiff::Timestamp::try_from(now).is_ok_and(|now| now > at)
}

fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    rest.len() <= 256 && rest.bytes().next_back().is_some_and(word) && rest.bytes().all(|c| word(c) || matches!(c, b':' | b'-'))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::json;

    use super::*;
    use crate::auth::objects::fake::Fake;

    #[test]
    fn the_secret_decides() {
        let objects = Fake::default();
        let key = "/registry/secrets/kube-system/bootstrap-token-abcdef";
        let put = |changed: &[(&str, &str)]| {
            let mut data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
                "expiration": "2026-01-01T00:00:00Z", "auth-extra-groups": "system:bootstrappers:workers"});
            for (k, v) in changed {
                data[*k] = json!(v);
            }
            for v in data.as_object_mut().unwrap().values_mut() {
                *v = json!(STANDARD.encode(v.as_str().unwrap()));
            }
            objects.put(key, &json!({"metadata": {}, "type": KIND, "data": data}));
        };
        let before = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let good = "abcdef.0123456789abcdef";
        assert_eq!(user(good, &objects, before), Ok(None));
        put(&[]);
        let found = user(good, &objects, before).unwrap().unwrap();
        assert_eq!(found, UserInfo::new("system:bootstrap:abcdef", &["system:bootstrappers", "system:bootstrappers:workers"]));
        assert_eq!(user("abcdef.0123456789abcdee", &objects, before), Ok(None));
        assert_eq!(user(good, &objects, before + Duration::from_secs(200_000_000)), Ok(None));
        put(&[("usage-bootstrap-authentication", "false")]);
        assert_eq!(user(good, &objects, before), Ok(None));
        put(&[("auth-extra-groups", "system:masters")]);
        assert!(user(good, &objects, before).is_err());
    }
}
