//! Image names as users write them.

/// An image name taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The registry's host, `docker.io` when none is named.
    pub host: String,
    /// The repository in the registry.
    pub repository: String,
    /// The tag, if one is named.
    pub tag: Option<String>,
    /// The digest, if one is named.
    pub digest: Option<String>,
}

/// Why a text is no image name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name {0:?}: invalid reference format")]
pub struct Invalid(pub String);

impl Name {
    /// Reads an image name (distribution's reference grammar).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let bad = || Invalid(text.to_owned());
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(bad()),
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        if tag.as_ref().is_some_and(|t| !is_tag(t)) {
            return Err(bad());
        }
        let (host, repository) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase) => {
                (first.to_owned(), rest.to_owned())
            }
            Some(_) => ("docker.io".to_owned(), path.to_owned()),
            None => ("docker.io".to_owned(), format!("library/{path}")),
        };
        let repository_ok = !path.is_empty() && repository.len() <= 255 && repository.split('/').all(is_component);
        if !repository_ok || !is_host(&host) {
            return Err(bad());
        }
        Ok(Self { host, repository, tag, digest })
    }
}

/// The name as it is pulled: with the tag `latest` when it has neither tag nor digest.
pub fn with_default_tag(text: &str) -> Result<String, Invalid> {
    let name = Name::parse(text)?;
    Ok(if name.tag.is_none() && name.digest.is_none() { format!("{text}:latest") } else { text.to_owned() })
}

fn is_component(text: &str) -> bool {
    let alnum = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'));
    inner && alnum(text.chars().next()) && alnum(text.chars().last()) && !text.contains("..") && !text.contains("___")
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128 && text.chars().next().is_some_and(word) && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'))
}

fn is_digest(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(algorithm, hex)| !algorithm.is_empty() && hex.len() >= 32 && hex.chars().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        let rows = [
            ("busybox", Some(("docker.io", "library/busybox", None))),
            ("a/b:1", Some(("docker.io", "a/b", Some("1")))),
            ("registry.k8s.io/pause:3.10", Some(("registry.k8s.io", "pause", Some("3.10")))),
            ("localhost:5000/x", Some(("localhost:5000", "x", None))),
            ("Foo", None),
            ("a//b", None),
            ("", None),
            ("x:", None),
            ("x@sha256:12", None),
            ("http://x/y", None),
        ];
        for (text, expected) in rows {
            let got = Name::parse(text).ok();
            let got = got.as_ref().map(|n| (n.host.as_str(), n.repository.as_str(), n.tag.as_deref()));
            assert_eq!(got, expected, "{text}");
        }
        assert_eq!(with_default_tag("busybox").unwrap(), "busybox:latest");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*") {
            let _ = Name::parse(&text);
        }
    }
}
