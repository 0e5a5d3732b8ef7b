//! The shapes of names, labels and other texts, and Kubernetes' sentences about the ones that do not fit.
//!
//! Each function answers all complaints about one text, none if it is well formed.

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const KEY_MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// The longest DNS label, in bytes.
pub(super) const MAX_LABEL: usize = 63;
/// The longest DNS subdomain, in bytes.
pub(super) const MAX_SUBDOMAIN: usize = 253;

/// The sentence about a text that does not match a pattern.
pub(super) fn pattern(message: &str, regex: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{regex}')");
    }
    let shown: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{regex}')", shown.join(" or "))
}

/// The sentence about a number out of range.
pub(super) fn range(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

fn too_many_bytes(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

fn lower(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label(s: &str) -> bool {
    let b = s.as_bytes();
    b.first().is_some_and(|c| lower(*c)) && b.last().is_some_and(|c| lower(*c)) && b.iter().all(|c| lower(*c) || *c == b'-')
}

fn is_subdomain(s: &str) -> bool {
    s.split('.').all(is_label)
}

/// A lower-case RFC 1123 label, as namespaces and containers are named.
pub(super) fn label_1123(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > MAX_LABEL {
        out.push(too_long(MAX_LABEL));
    }
    if !is_label(s) {
        if is_subdomain(s) {
            out.push("must not contain dots".to_owned());
        } else {
            const MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
                and must start and end with an alphanumeric character";
            out.push(pattern(MESSAGE, LABEL, &["my-name", "123-abc"]));
        }
    }
    out
}

/// A lower-case RFC 1123 subdomain, as most objects are named.
pub(super) fn subdomain(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > MAX_SUBDOMAIN {
        out.push(too_long(MAX_SUBDOMAIN));
    }
    if !is_subdomain(s) {
        const MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
            and must start and end with an alphanumeric character";
        out.push(pattern(MESSAGE, SUBDOMAIN, &["example.com"]));
    }
    out
}

/// A subdomain whose labels may hold underscores, as DNS search lists allow.
pub(super) fn subdomain_with_underscore(s: &str) -> Vec<String> {
    const REGEX: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
    let mut out = Vec::new();
    if s.len() > MAX_SUBDOMAIN {
        out.push(too_long(MAX_SUBDOMAIN));
    }
    let fits = |label: &str| {
        let rest = label.strip_prefix('_').unwrap_or(label).as_bytes();
        rest.first().is_some_and(|c| lower(*c))
            && rest.last().is_some_and(|c| lower(*c))
            && rest.iter().all(|c| lower(*c) || matches!(c, b'-' | b'_'))
    };
    if !s.split('.').all(fits) {
        const MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', \
            and must start and end with an alphanumeric character";
        out.push(pattern(MESSAGE, REGEX, &["example.com"]));
    }
    out
}

/// `*.` and a subdomain, as ingress hosts allow.
pub(super) fn wildcard_subdomain(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > MAX_SUBDOMAIN {
        out.push(too_long(MAX_SUBDOMAIN));
    }
    if !s.strip_prefix("*.").is_some_and(is_subdomain) {
        const MESSAGE: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
            lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        out.push(pattern(MESSAGE, &format!("\\*\\.{SUBDOMAIN}"), &["*.example.com"]));
    }
    out
}

/// A name that can stand in a URL's path, as RBAC objects are named.
pub(super) fn path_segment(s: &str) -> Vec<String> {
    if s == "." || s == ".." {
        return vec![format!("may not be '{s}'")];
    }
    ["/", "%"].iter().filter(|bad| s.contains(**bad)).map(|bad| format!("may not contain '{bad}'")).collect()
}

fn is_key_part(s: &str) -> bool {
    let b = s.as_bytes();
    b.first().is_some_and(u8::is_ascii_alphanumeric)
        && b.last().is_some_and(u8::is_ascii_alphanumeric)
        && b.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// A label key, also called a qualified name: an optional DNS prefix, a slash, and a name.
pub(super) fn qualified_name(s: &str) -> Vec<String> {
    const EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];
    let mut out = Vec::new();
    let name = match s.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                out.push("prefix part must be non-empty".to_owned());
            } else {
                out.extend(prefix_subdomain(prefix));
            }
            *name
        }
        _ => {
            let shape = pattern(KEY_MESSAGE, KEY, EXAMPLES);
            return vec![format!("a valid label key {shape} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")];
        }
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_LABEL {
        out.push(format!("name part {}", too_many_bytes(MAX_LABEL)));
    }
    if !is_key_part(name) {
        out.push(format!("name part {}", pattern(KEY_MESSAGE, KEY, EXAMPLES)));
    }
    out
}

/// The prefix of a label key counts bytes where a name counts characters; only the wording differs.
fn prefix_subdomain(prefix: &str) -> Vec<String> {
    let reworded = |m: String| if m == too_long(MAX_SUBDOMAIN) { too_many_bytes(MAX_SUBDOMAIN) } else { m };
    subdomain(prefix).into_iter().map(|m| format!("prefix part {}", reworded(m))).collect()
}

/// A label's value.
pub(super) fn label_value(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > MAX_LABEL {
        out.push(too_many_bytes(MAX_LABEL));
    }
    if !s.is_empty() && !is_key_part(s) {
        const MESSAGE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
            and must start and end with an alphanumeric character";
        out.push(pattern(MESSAGE, "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", &["MyValue", "my_value", "12345"]));
    }
    out
}

/// A named port (IANA service name).
pub(super) fn port_name(s: &str) -> Vec<String> {
    /// The longest service name that RFC 6335 allows.
    const MAX: usize = 15;
    let mut out = Vec::new();
    if s.len() > MAX {
        out.push(too_long(MAX));
    }
    if s.is_empty() || !s.bytes().all(|c| lower(c) || c == b'-') {
        out.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !s.bytes().any(|c| c.is_ascii_lowercase()) {
        out.push("must contain at least one letter (a-z)".to_owned());
    }
    if s.contains("--") {
        out.push("must not contain consecutive hyphens".to_owned());
    }
    if s.starts_with('-') || s.ends_with('-') {
        out.push("must not begin or end with a hyphen".to_owned());
    }
    out
}

/// A port number.
pub(super) fn port_number(port: i64) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![range(1, 65535)] }
}

/// A key of a config map or secret.
pub(super) fn config_key(s: &str) -> Vec<String> {
    let mut out = Vec::new();
    if s.len() > MAX_SUBDOMAIN {
        out.push(too_long(MAX_SUBDOMAIN));
    }
    if s.is_empty() || !s.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_')) {
        const MESSAGE: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        out.push(pattern(MESSAGE, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    match s {
        "." => out.push("must not be '.'".to_owned()),
        ".." => out.push("must not be '..'".to_owned()),
        s if s.starts_with("..") => out.push("must not start with '..'".to_owned()),
        _ => {}
    }
    out
}

/// The name of an environment variable.
pub(super) fn env_name(s: &str) -> Vec<String> {
    if s.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if s.chars().any(|c| c == '=' || !(' '..='~').contains(&c)) {
        return vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()];
    }
    Vec::new()
}

/// The name of an HTTP header.
pub(super) fn header_name(s: &str) -> Vec<String> {
    if !s.is_empty() && s.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Vec::new();
    }
    vec![pattern("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// A percentage such as `25%`.
pub(super) fn percent(s: &str) -> Vec<String> {
    if s.strip_suffix('%').is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit())) {
        return Vec::new();
    }
    vec![pattern("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", &["1%", "93%"])]
}

/// A domain and a path, such as a signer's or a condition's name.
pub(super) fn domain_prefixed(s: &str) -> Option<&'static str> {
    let shaped = s.split_once('/').is_some_and(|(host, path)| !host.is_empty() && !path.is_empty());
    (!shaped).then_some("must be a domain-prefixed path (such as \"acme.io/foo\")")
}
