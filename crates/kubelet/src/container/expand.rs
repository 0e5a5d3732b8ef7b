//! `$(VAR)` references in commands, arguments and values.

use std::collections::HashMap;

/// Replaces `$(NAME)` by the value in `values`; unknown names stay as they are, and `$$` is one `$`.
pub fn expand(text: &str, values: &HashMap<String, String>) -> String {
    expand_with(text, |name| values.get(name).cloned().unwrap_or_else(|| format!("$({name})")))
}

/// As [`expand`], or the first name that `values` lacks.
pub fn expand_strict<'a>(text: &'a str, values: &HashMap<String, String>) -> Result<String, &'a str> {
    let mut missing = None;
    let expanded = expand_with(text, |name| {
        values.get(name).cloned().unwrap_or_else(|| {
            missing = missing.or(Some(name));
            String::new()
        })
    });
    missing.map_or(Ok(expanded), Err)
}

fn expand_with<'a>(text: &'a str, mut value: impl FnMut(&'a str) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|a| a.split_once(')')) {
            out.push_str(&value(name));
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_are_replaced() {
        let values = HashMap::from([("A".to_owned(), "1".to_owned()), ("E".to_owned(), String::new())]);
        let rows = [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(A", "$(A"),
            ("$A", "$A"),
            ("$", "$"),
            ("$(E)", ""),
            ("", ""),
        ];
        for (text, expected) in rows {
            assert_eq!(expand(text, &values), expected, "{text}");
        }
        assert_eq!(expand_strict("$(A)/$(B)", &values), Err("B"));
    }

    proptest! {
        #[test]
        fn any_text_expands(text in "\\PC*") {
            let _ = expand(&text, &HashMap::new());
        }
    }
}
