//! Query strings.

use percent_encoding::percent_decode_str;

/// The pairs of a query string, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let decoded = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = text.split('&').filter(|p| !p.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(key, value)| (decoded(key), decoded(value))).collect())
    }

    /// The first value of a key, if it is not empty.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// All values of a key.
    pub(super) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect()
    }

    /// Whether a switch is on.
    pub(super) fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(|v| matches!(v, "1" | "t" | "T" | "true" | "True" | "TRUE"))
    }

    /// A whole number that is not negative; `Err` when it is something else.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, String> {
        self.get(key).map(str::parse).transpose().map_err(|_| format!("invalid value of {key}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_decoded() {
        let q = Query::parse("command=sh&command=-c&command=echo+a%26b&tty=1&tailLines=5&x=-1&empty");
        assert_eq!(q.all("command"), ["sh", "-c", "echo a&b"]);
        assert!(q.is_on("tty") && !q.is_on("empty"));
        assert_eq!((q.number("tailLines"), q.number("no"), q.number("x").is_err()), (Ok(Some(5)), Ok(None), true));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*") {
            let _ = Query::parse(&text);
        }
    }
}
