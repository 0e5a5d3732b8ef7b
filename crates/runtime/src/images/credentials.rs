//! Who we are at a registry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Credentials as a pull secret or the kubelet gives them.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// None.
    #[default]
    Anonymous,
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token for the registry itself.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    /// Never shows the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { user, .. } => write!(f, "Basic({user})"),
            Self::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

impl Credentials {
    /// From the fields of a docker configuration or a CRI `AuthConfig`: `auth` is base64 of `user:password`.
    pub fn from_parts(user: &str, password: &str, auth: &str, registry_token: &str) -> Self {
        if !registry_token.is_empty() {
            return Self::Bearer(registry_token.to_owned());
        }
        if !user.is_empty() {
            return Self::Basic { user: user.to_owned(), password: password.to_owned() };
        }
        let decoded = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':')) {
            Some((user, password)) => Self::Basic { user: user.to_owned(), password: password.to_owned() },
            None => Self::Anonymous,
        }
    }

    /// The value of an `Authorization` header.
    pub(super) fn header(&self) -> Option<String> {
        match self {
            Self::Anonymous => None,
            Self::Basic { user, password } => Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))),
            Self::Bearer(token) => Some(format!("Bearer {token}")),
        }
    }
}
