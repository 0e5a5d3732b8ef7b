//! Label selectors as text.

use serde_json::{Map, Value};

use super::row::{NONE, list, text};

/// `a=b,c=d`, or `<none>`.
pub(super) fn labels(map: Option<&Map<String, Value>>) -> String {
    let pairs: Vec<String> = map.into_iter().flatten().map(|(k, v)| format!("{k}={}", text(Some(v)))).collect();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// The selector, `<none>` if it says nothing, `<error>` if it is not valid.
pub(super) fn shown(selector: Option<&Value>) -> String {
    match requirements(selector) {
        Some(text) if text.is_empty() => NONE.to_owned(),
        Some(text) => text,
        None => "<error>".to_owned(),
    }
}

/// The selector as text, sorted by key; empty for none. `None` if it is not valid.
pub(super) fn requirements(selector: Option<&Value>) -> Option<String> {
    let Some(selector) = selector else { return Some(String::new()) };
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let mut parts: Vec<(&str, String)> =
        labels.into_iter().flatten().map(|(k, v)| (k.as_str(), format!("{k}={}", text(Some(v))))).collect();
    for expression in list(selector.get("matchExpressions")) {
        let key = text(expression.get("key"));
        let mut values: Vec<&str> = list(expression.get("values")).iter().map(|v| text(Some(v))).collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match (text(expression.get("operator")), list(expression.get("values")).is_empty()) {
            ("In", false) => format!("{key} in ({values})"),
            ("NotIn", false) => format!("{key} notin ({values})"),
            ("Exists", true) => key.to_owned(),
            ("DoesNotExist", true) => format!("!{key}"),
            _ => return None,
        };
        parts.push((key, part));
    }
    parts.sort_by(|a, b| a.0.cmp(b.0));
    Some(parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(","))
}

/// The selector as Go prints the struct; admission bindings show it so.
pub(super) fn go_struct(selector: &Value) -> String {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let labels: String = labels.into_iter().flatten().map(|(k, v)| format!("{k}: {},", text(Some(v)))).collect();
    let expressions: String = list(selector.get("matchExpressions"))
        .iter()
        .map(|e| {
            let values: Vec<&str> = list(e.get("values")).iter().map(|v| text(Some(v))).collect();
            let (key, operator) = (text(e.get("key")), text(e.get("operator")));
            format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{}],}},", values.join(" "))
        })
        .collect();
    format!("&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}")
}
