//! Debug output of registry credentials, without the credentials.

use std::fmt;

use crate::v1::AuthConfig;

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig").field("username", &self.username).field("server_address", &self.server_address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let auth = AuthConfig {
            username: "ann".into(),
            password: "pw-1".into(),
            auth: "pw-2".into(),
            server_address: "r.example".into(),
            identity_token: "pw-3".into(),
            registry_token: "pw-4".into(),
        };
        let text = format!("{auth:?}");
        assert!(text.contains("ann") && !text.contains("pw-"), "{text}");
    }
}
