//! Selectors: by label, as text (`app=web,tier in (a,b)`) or as a `LabelSelector` object, and by field.
//!
//! The grammar and the complaints are those of apimachinery's `labels` and `fields` packages.

use std::fmt;

use serde_json::Value;

pub mod fields;
mod labels;

pub use fields::FieldSelector;

use crate::field::{Error, Path};
use crate::meta;
use crate::meta::names::{label_value, qualified_name};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key in (a,b)`.
    In,
    /// `key notin (a,b)`; also true without the key.
    NotIn,
    /// `key=a`.
    Equals,
    /// `key==a`.
    DoubleEquals,
    /// `key!=a`; also true without the key.
    NotEquals,
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
    /// `key>1`.
    GreaterThan,
    /// `key<1`.
    LessThan,
}

impl Operator {
    /// The word in `LabelSelector` and node selector objects.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "In" => Some(Self::In),
            "NotIn" => Some(Self::NotIn),
            "Exists" => Some(Self::Exists),
            "DoesNotExist" => Some(Self::DoesNotExist),
            "Gt" => Some(Self::GreaterThan),
            "Lt" => Some(Self::LessThan),
            _ => None,
        }
    }
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    /// Sorted, without doubles.
    values: Vec<String>,
}

/// A condition on labels: all requirements must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LabelSelector {
    /// Matches no object; a selector that is not given in places where that means "none".
    Nothing,
    /// Matches what fulfils all requirements; everything, if there are none.
    All(Vec<Requirement>),
}

impl Default for LabelSelector {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl Requirement {
    /// A checked requirement. The error is Kubernetes' sentence.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, String> {
        let mut errors: Vec<Error> = Vec::new();
        errors.extend(bad_key(key, &Path::new("key")));
        let at = Path::new("values");
        let complaint = match operator {
            Operator::In | Operator::NotIn if values.is_empty() => Some("for 'in', 'notin' operators, values set can't be empty"),
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                Some("exact-match compatibility requires one single value")
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                Some("values set must be empty for exists and does not exist")
            }
            Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
                Some("for 'Gt', 'Lt' operators, exactly one value is required")
            }
            _ => None,
        };
        errors.extend(complaint.map(|c| Error::invalid(&at, values.clone(), c)));
        for (i, value) in values.iter().enumerate() {
            let numeric = matches!(operator, Operator::GreaterThan | Operator::LessThan);
            if numeric && value.parse::<i64>().is_err() {
                errors.push(Error::invalid(&at.index(i), value.as_str(), "for 'Gt', 'Lt' operators, the value must be an integer"));
            }
        }
        for (i, value) in values.iter().enumerate() {
            let complaints = label_value(value);
            if !complaints.is_empty() {
                errors.push(Error::invalid(&at.index(i).key(key), value.as_str(), &complaints.join("; ")));
            }
        }
        let sentences: Vec<String> = errors.iter().map(Error::to_string).collect();
        match sentences.as_slice() {
            [] => {}
            [one] => return Err(one.clone()),
            many => return Err(format!("[{}]", many.join(", "))),
        }
        values.sort();
        values.dedup();
        Ok(Self { key: key.to_owned(), operator, values })
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it compares.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// With what it compares.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether a label's value (or its absence) fulfils the requirement.
    pub fn accepts(&self, value: Option<&str>) -> bool {
        let listed = |v: &str| self.values.iter().any(|w| w == v);
        let numbers = |v: &str| Some((v.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => value.and_then(numbers).is_some_and(|(l, r)| l > r),
            Operator::LessThan => value.and_then(numbers).is_some_and(|(l, r)| l < r),
        }
    }
}

fn bad_key(key: &str, at: &Path) -> Option<Error> {
    let complaints = qualified_name(key);
    (!complaints.is_empty()).then(|| Error::invalid(at, key, &complaints.join("; ")))
}

impl LabelSelector {
    /// Reads a selector's text, as in the `labelSelector` parameter. The error is Kubernetes' sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        labels::parse(text).map(|mut list| {
            list.sort_by(|a, b| a.key.cmp(&b.key));
            Self::All(list)
        })
    }

    /// Reads a `LabelSelector` object. Null matches nothing, an empty object everything.
    pub fn from_object(object: &Value) -> Result<Self, String> {
        if object.is_null() {
            return Ok(Self::Nothing);
        }
        let mut list = Vec::new();
        for (key, value) in object.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            list.push(Requirement::new(key, Operator::Equals, vec![value.as_str().unwrap_or_default().to_owned()])?);
        }
        for e in object.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let word = |k: &str| e.get(k).and_then(Value::as_str).unwrap_or_default();
            let operator = Operator::from_word(word("operator")).filter(|o| !matches!(o, Operator::GreaterThan | Operator::LessThan));
            let operator = operator.ok_or_else(|| format!("{:?} is not a valid label selector operator", word("operator")))?;
            let values = e.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
            list.push(Requirement::new(word("key"), operator, values)?);
        }
        list.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self::All(list))
    }

    /// A selector of labels that must all be equal, as in a Service.
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut list: Vec<Requirement> = labels
            .into_iter()
            .map(|(k, v)| Requirement { key: k.to_owned(), operator: Operator::Equals, values: vec![v.to_owned()] })
            .collect();
        list.sort_by(|a, b| a.key.cmp(&b.key));
        Self::All(list)
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::All(list) if list.is_empty())
    }

    /// The requirements; none for [`LabelSelector::Nothing`].
    pub fn requirements(&self) -> &[Requirement] {
        match self {
            Self::Nothing => &[],
            Self::All(list) => list,
        }
    }

    /// Whether labels match; `label` looks one up.
    pub fn matches<'v>(&self, label: impl Fn(&str) -> Option<&'v str>) -> bool {
        match self {
            Self::Nothing => false,
            Self::All(list) => list.iter().all(|r| r.accepts(label(&r.key))),
        }
    }

    /// Whether an object's labels match.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(|key| meta::label(object, key))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.join(",");
        let key = &self.key;
        match self.operator {
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements().iter().enumerate() {
            write!(f, "{}{r}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
