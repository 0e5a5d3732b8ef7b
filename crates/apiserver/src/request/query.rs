//! A URL's query as pairs.

use percent_encoding::percent_decode;

/// The decoded pairs in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`; `+` is a space.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|p| !p.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    /// The last value of the key.
    pub fn last(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The first non-empty value of the key, or nothing.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// All values of the key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Whether a flag is set: anything but `0` and `false`, as Kubernetes' query conversion has it.
    pub fn flag(&self, key: &str) -> bool {
        self.last(key).is_some_and(|v| !matches!(v.to_ascii_lowercase().as_str(), "0" | "false"))
    }
}

fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned()
}

impl Query {
    /// The pairs as a URL's query.
    pub fn encode(&self) -> String {
        let encoded = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let pairs: Vec<String> = self.0.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v))).collect();
        pairs.join("&")
    }
}
