//! Image references (`registry/repository:tag@digest`) in the normal form that Docker and containerd use.

use std::fmt;

use super::error::Error;

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const MAX_BYTES: usize = 512;

/// A normalised reference: `nginx` is `docker.io/library/nginx:latest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Host and port of the registry.
    pub registry: String,
    /// Path of the repository in the registry.
    pub repository: String,
    /// The tag; `latest` if neither tag nor digest was given.
    pub tag: Option<String>,
    /// `sha256:…`, if pinned.
    pub digest: Option<String>,
}

impl Reference {
    /// Parses what a user may write in `image:`.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let bad = |why| Error::Reference { name: name.to_owned(), why };
        if name.is_empty() || name.len() > MAX_BYTES {
            return Err(bad(""));
        }
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(bad(": the digest must be sha256: and 64 hexadecimal digits")),
            None => (name, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if !tag.is_none_or(is_tag) {
            return Err(bad(": the tag is malformed"));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest.to_owned()),
            Some(_) => (DEFAULT_REGISTRY, path.to_owned()),
            None => (DEFAULT_REGISTRY, format!("library/{path}")),
        };
        if path.chars().any(|c| c.is_ascii_uppercase()) && repository.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(bad(": repository name must be lowercase"));
        }
        if !is_host(registry) || !repository.split('/').all(is_component) {
            return Err(bad(""));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }

    /// Registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What to ask the registry for: the digest if there is one, otherwise the tag.
    pub fn target(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or(DEFAULT_TAG)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether the text is a sha256 digest with its algorithm.
pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').map_or((host, None), |(n, p)| (n, Some(p)));
    let label = |l: &str| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    name.split('.').all(label) && port.is_none_or(|p| p.parse::<u16>().is_ok())
}

fn is_component(part: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: u8| edge(b) || b == b'.' || b == b'_' || b == b'-';
    part.bytes().next().is_some_and(edge) && part.bytes().next_back().is_some_and(edge) && part.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_take_their_normal_form() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (given, normal) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("me/app:v1", "docker.io/me/app:v1".into()),
            ("localhost/app", "localhost/app:latest".into()),
            ("127.0.0.1:5000/a/b:1.2", "127.0.0.1:5000/a/b:1.2".into()),
            ("registry.k8s.io/pause:3.10.2", "registry.k8s.io/pause:3.10.2".into()),
            (&format!("app@{digest}"), format!("docker.io/library/app@{digest}")),
            (&format!("app:v1@{digest}"), format!("docker.io/library/app:v1@{digest}")),
        ] {
            assert_eq!(Reference::parse(given).unwrap().to_string(), normal, "{given}");
        }
    }

    #[test]
    fn malformed_references_are_refused() {
        for bad in ["", "a b", "App", "app:", "app:ta g", "../x", "app@sha256:12", "reg:port/app", "a//b", "-a", ":1"] {
            assert!(Reference::parse(bad).is_err(), "{bad:?} must be refused");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_the_normal_form_is_stable(name in "\\PC{0,60}") {
            if let Ok(parsed) = Reference::parse(&name) {
                let again = Reference::parse(&parsed.to_string());
                proptest::prop_assert_eq!(again.ok(), Some(parsed));
            }
        }
    }
}
