//! YAML for responses: block style, every text quoted as JSON quotes it, which every YAML reader takes.

use serde_json::Value;

/// The document.
pub fn text(tree: &Value) -> String {
    let mut out = String::new();
    match tree {
        Value::Object(m) if !m.is_empty() => block(&mut out, tree, 0),
        Value::Array(a) if !a.is_empty() => block(&mut out, tree, 0),
        scalar => {
            out.push_str(&scalar.to_string());
            out.push('\n');
        }
    }
    out
}

/// Writes a non-empty map or list; the cursor is at the start of a line.
fn block(out: &mut String, tree: &Value, depth: usize) {
    match tree {
        Value::Object(fields) => {
            for (key, value) in fields {
                indent(out, depth);
                entry(out, key, value, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                indent(out, depth);
                out.push('-');
                match item {
                    Value::Object(fields) if !fields.is_empty() => {
                        for (i, (key, value)) in fields.iter().enumerate() {
                            if i == 0 {
                                out.push(' ');
                            } else {
                                indent(out, depth.saturating_add(1));
                            }
                            entry(out, key, value, depth.saturating_add(1));
                        }
                    }
                    other => value_after(out, other, depth.saturating_add(1)),
                }
            }
        }
        _ => {}
    }
}

fn entry(out: &mut String, key: &str, value: &Value, depth: usize) {
    let plain = key.starts_with(|c: char| c.is_ascii_lowercase()) && key.chars().all(|c| c.is_ascii_alphanumeric());
    // Words that YAML 1.1 reads as something else must be quoted.
    let word = matches!(key, "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null");
    if plain && !word {
        out.push_str(key);
    } else {
        out.push_str(&Value::from(key).to_string());
    }
    out.push(':');
    // Lists of a map stand at the map's own depth, as kubectl and go-yaml write them.
    let below = if value.is_array() { depth } else { depth.saturating_add(1) };
    value_after(out, value, below);
}

fn value_after(out: &mut String, value: &Value, depth: usize) {
    let empty = match value {
        Value::Object(m) => m.is_empty(),
        Value::Array(a) => a.is_empty(),
        _ => true,
    };
    if empty {
        out.push(' ');
        out.push_str(&value.to_string());
        out.push('\n');
    } else {
        out.push('\n');
        block(out, value, depth);
    }
}

fn indent(out: &mut String, depth: usize) {
    (0..depth).for_each(|_| out.push_str("  "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_is_read_back() {
        let tree = json!({"a": {"b": [1, "yes", {"c": null, "d": [[1], []]}, {}], "n": "x: y\n- z"}, "y": true, "k/8s": "\u{e9}", "e": []});
        let text = text(&tree);
        let (back, _) = api::yaml::parse(text.as_bytes()).unwrap();
        assert_eq!(back, tree, "{text}");
    }
}
