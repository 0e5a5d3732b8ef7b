//! Field selectors: `spec.nodeName=n1,status.phase!=Failed`.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::resources::ResourceDescriptor;

/// One comparison of one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Term {
    /// The field's label, for example `status.phase`.
    pub field: String,
    /// The value.
    pub value: String,
    /// Whether the field must be the value or must not.
    pub compare: Compare,
}

/// How a field compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    /// `=` and `==`.
    Equal,
    /// `!=`.
    NotEqual,
}

/// A condition on fields: all terms must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector {
    /// The terms.
    pub terms: Vec<Term>,
}

impl FieldSelector {
    /// Reads a selector's text, as in the `fieldSelector` parameter. The error is Kubernetes' sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = split(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|p| !p.is_empty()) {
            let cannot = || format!("invalid selector: '{text}'; can't understand '{part}'");
            let at = part.find(['!', '=']).ok_or_else(cannot)?;
            let at = first_operator(part, at).ok_or_else(cannot)?;
            let rest = part.get(at..).unwrap_or_default();
            let (compare, value) = match (rest.strip_prefix("!="), rest.strip_prefix("==")) {
                (Some(value), _) => (Compare::NotEqual, value),
                (_, Some(value)) => (Compare::Equal, value),
                _ => (Compare::Equal, rest.strip_prefix('=').unwrap_or(rest)),
            };
            let field = part.get(..at).unwrap_or_default().to_owned();
            terms.push(Term { field, value: unescape(value)?, compare });
        }
        Ok(Self { terms })
    }

    /// Checks the labels against a resource and turns old labels into today's. The error is Kubernetes' sentence.
    pub fn for_resource(mut self, resource: &ResourceDescriptor) -> Result<Self, String> {
        const PLAIN: [&str; 2] = ["metadata.name", "metadata.namespace"];
        for term in &mut self.terms {
            if let Some(meaning) = resource.field_selector_aliases.get(&term.field) {
                term.field.clone_from(meaning);
                continue;
            }
            let known = PLAIN.contains(&term.field.as_str()) || resource.field_selectors.contains(&term.field);
            if !known {
                let plain = resource.field_selectors.iter().all(|f| PLAIN.contains(&f.as_str()));
                let field = &term.field;
                return Err(match plain {
                    true => format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""),
                    false => format!("field label not supported: {field}"),
                });
            }
        }
        Ok(self)
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value a field must have, if one term asks for equality; lets lists of one object become gets.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.compare == Compare::Equal && t.field == field).map(|t| t.value.as_str())
    }

    /// Whether fields match; `field` looks a value up, empty if there is none.
    pub fn matches<'v>(&self, field: impl Fn(&str) -> Cow<'v, str>) -> bool {
        self.terms.iter().all(|t| (field(&t.field) == t.value) == (t.compare == Compare::Equal))
    }

    /// Whether an object's fields match, see [`value`].
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(|field| value(object, field))
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, t) in self.terms.iter().enumerate() {
            let op = if t.compare == Compare::Equal { "=" } else { "!=" };
            let value = t.value.replace('\\', r"\\").replace(',', r"\,").replace('=', r"\=");
            write!(f, "{}{}{op}{value}", if i > 0 { "," } else { "" }, t.field)?;
        }
        Ok(())
    }
}

/// The position of the first operator at or after `from`.
fn first_operator(part: &str, from: usize) -> Option<usize> {
    let tail = part.get(from..)?;
    let at = tail.char_indices().find(|(i, c)| *c == '=' || tail.get(*i..).is_some_and(|t| t.starts_with("!=")))?;
    Some(from + at.0)
}

/// Splits at commas that no backslash protects.
fn split(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                out.push(text.get(start..i).unwrap_or_default());
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(text.get(start..).unwrap_or_default());
    out
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("invalid field selector: invalid escape sequence: \\{c}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {}", u32::from(c))),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// The value of a field label in an object: the JSON path, with the few labels that are computed.
///
/// Absent booleans and counters that selectors use read as `false` and `0`, as Go's zero values do.
pub fn value<'o>(object: &'o Value, label: &str) -> Cow<'o, str> {
    let text = |path: &str| lookup(object, path);
    match label {
        "source" => {
            first([text("source.component"), text("deprecatedSource.component"), text("reportingComponent"), text("reportingController")])
        }
        "reportingComponent" => first([text("reportingComponent"), text("reportingController"), Cow::Borrowed(""), Cow::Borrowed("")]),
        "spec.unschedulable" | "spec.hostNetwork" => or(text(label), "false"),
        "status.replicas" => or(text(label), "0"),
        "status.successful" => or(text("status.succeeded"), "0"),
        _ => match label.strip_prefix("involvedObject.") {
            Some(rest) => first([text(label), text(&format!("regarding.{rest}")), Cow::Borrowed(""), Cow::Borrowed("")]),
            None => text(label),
        },
    }
}

fn or<'o>(found: Cow<'o, str>, otherwise: &'static str) -> Cow<'o, str> {
    if found.is_empty() { Cow::Borrowed(otherwise) } else { found }
}

fn first<'o>(found: [Cow<'o, str>; 4]) -> Cow<'o, str> {
    found.into_iter().find(|t| !t.is_empty()).unwrap_or_default()
}

fn lookup<'o>(object: &'o Value, path: &str) -> Cow<'o, str> {
    let mut at = object;
    for name in path.split('.') {
        match at.get(name) {
            Some(next) => at = next,
            None => return Cow::Borrowed(""),
        }
    }
    match at {
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(_) | Value::Number(_) => Cow::Owned(at.to_string()),
        _ => Cow::Borrowed(""),
    }
}
