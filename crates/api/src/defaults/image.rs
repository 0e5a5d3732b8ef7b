//! Which pull policy an image reference implies.

/// `Always` for the tag `latest`, said or implied; `IfNotPresent` otherwise, and for references that do not parse.
pub(super) fn pull_policy(reference: &str) -> &'static str {
    if is_latest(reference) { "Always" } else { "IfNotPresent" }
}

/// Whether the reference parses and its tag is `latest`; a digest without a tag means no tag.
fn is_latest(reference: &str) -> bool {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    // A colon before the last slash belongs to a registry's port.
    let after_slash = rest.rfind('/').map_or(0, |i| i + 1);
    let (name, tag) = match rest.get(after_slash..).and_then(|last| last.find(':')) {
        Some(i) => (rest.get(..after_slash + i).unwrap_or_default(), rest.get(after_slash + i + 1..)),
        None => (rest, None),
    };
    if !is_name(name) || tag.is_some_and(|t| !is_tag(t)) || digest.is_some_and(|d| !d.contains(':')) {
        return false;
    }
    match tag {
        Some(tag) => tag == "latest",
        None => digest.is_none(),
    }
}

fn is_tag(tag: &str) -> bool {
    /// The longest tag that the distribution reference grammar allows, in bytes.
    const MAX_TAG: usize = 128;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= MAX_TAG && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

/// Path parts are lower case; the first part may be a registry's host with a port.
fn is_name(name: &str) -> bool {
    let mut parts = name.split('/');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let is_host = !rest.is_empty() && (first.contains(['.', ':']) || first == "localhost" || first.contains(char::is_uppercase));
    let host_ok = first.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
    (if is_host { host_ok } else { is_path_part(first) }) && rest.iter().all(|p| is_path_part(p))
}

fn is_path_part(part: &str) -> bool {
    let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(alnum) && part.ends_with(alnum) && part.chars().all(|c| alnum(c) || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn the_tag_decides() {
        for (reference, want) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("localhost:5000/app", "Always"),
            ("localhost:5000/app:v1", "IfNotPresent"),
            ("registry.k8s.io/pause@sha256:7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097", "IfNotPresent"),
            ("pause:latest@sha256:7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097", "Always"),
            ("NGINX", "IfNotPresent"),
            ("Host/app", "Always"),
            ("", "IfNotPresent"),
            ("a:b:c", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(reference), want, "{reference}");
        }
    }
}
