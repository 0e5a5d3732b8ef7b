//! From YAML nodes to JSON: merges, keys that are no text, duplicate keys, and the bound on aliases.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::YamlError;
use super::scalar::{Scalar, resolve};
use super::tree::{Content, Node, NodeId, Tree};

/// Documents below these counts may repeat themselves as they like (go-yaml's figures).
const ALIASES_UNBOUNDED: u64 = 100;
const DECODES_UNBOUNDED: u64 = 1000;
/// Between these many decoded nodes the allowed share of aliased ones falls from 99 % to 10 %.
const RATIO_HIGH_UNTIL: u64 = 400_000;
const RATIO_LOW_FROM: u64 = 4_000_000;

pub(super) struct Converter<'a> {
    tree: &'a Tree,
    /// One sentence per duplicate key.
    pub(super) duplicates: Vec<String>,
    /// Anchored nodes being expanded, to find one that contains itself.
    open: HashSet<NodeId>,
    decoded: u64,
    aliased: u64,
    alias_depth: u32,
}

#[derive(Default)]
struct Mapping {
    values: BTreeMap<String, Value>,
    /// The keys as Go prints them, which keeps the text "1" apart from the number 1.
    seen: HashSet<String>,
}

impl<'a> Converter<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { tree, duplicates: Vec::new(), open: HashSet::new(), decoded: 0, aliased: 0, alias_depth: 0 }
    }

    pub(super) fn document(&mut self) -> Result<Value, YamlError> {
        match self.tree.root {
            Some(root) => self.value(root),
            None => Ok(Value::Null),
        }
    }

    fn node(&self, id: NodeId) -> Result<&'a Node, YamlError> {
        self.tree.node(id).ok_or_else(|| YamlError::Text("a node is missing".to_owned()))
    }

    /// Counts one more node and refuses documents that are mostly aliases.
    fn count(&mut self) -> Result<(), YamlError> {
        self.decoded += 1;
        self.aliased += u64::from(self.alias_depth > 0);
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let ratio = |a: u64, b: u64| a as f64 / b as f64;
        let allowed = match self.decoded {
            n if n <= RATIO_HIGH_UNTIL => 0.99,
            n if n >= RATIO_LOW_FROM => 0.10,
            n => 0.99 - 0.89 * ratio(n - RATIO_HIGH_UNTIL, RATIO_LOW_FROM - RATIO_HIGH_UNTIL),
        };
        let big = self.aliased > ALIASES_UNBOUNDED && self.decoded > DECODES_UNBOUNDED;
        if big && ratio(self.aliased, self.decoded) > allowed {
            return Err(YamlError::Text("document contains excessive aliasing".to_owned()));
        }
        Ok(())
    }

    fn value(&mut self, id: NodeId) -> Result<Value, YamlError> {
        self.count()?;
        match &self.node(id)?.content {
            Content::Scalar { tag, value, plain } => {
                let scalar = resolve(tag.as_deref(), value, *plain).map_err(YamlError::Text)?;
                to_json(scalar)
            }
            Content::Sequence(items) => items.iter().map(|i| self.value(*i)).collect::<Result<Vec<_>, _>>().map(Value::Array),
            Content::Mapping(pairs) => {
                let mut out = Mapping::default();
                self.fill(pairs, &mut out)?;
                Ok(Value::Object(out.values.into_iter().collect()))
            }
            Content::Alias { name, target } => self.through(name, *target, |c| c.value(*target)),
        }
    }

    fn through<T>(&mut self, name: &str, target: NodeId, read: impl FnOnce(&mut Self) -> Result<T, YamlError>) -> Result<T, YamlError> {
        if !self.open.insert(target) {
            return Err(YamlError::Text(format!("anchor '{name}' value contains itself")));
        }
        self.alias_depth += 1;
        let out = read(self);
        self.alias_depth -= 1;
        self.open.remove(&target);
        out
    }

    fn fill(&mut self, pairs: &[(NodeId, NodeId)], out: &mut Mapping) -> Result<(), YamlError> {
        for (key, value) in pairs {
            if self.is_merge(*key)? {
                self.merge(*value, out)?;
                continue;
            }
            self.count()?;
            let (shown, key) = self.key(*key)?;
            let line = self.node(*value)?.line + 1;
            let value = self.value(*value)?;
            if !out.seen.insert(shown.clone()) {
                self.duplicates.push(format!("line {line}: key {shown} already set in map"));
            }
            out.values.insert(key, value);
        }
        Ok(())
    }

    fn is_merge(&self, key: NodeId) -> Result<bool, YamlError> {
        Ok(match &self.node(key)?.content {
            Content::Scalar { tag, value, plain } if value == "<<" => {
                (tag.is_none() && *plain) || tag.as_deref() == Some("tag:yaml.org,2002:merge")
            }
            _ => false,
        })
    }

    fn merge(&mut self, id: NodeId, out: &mut Mapping) -> Result<(), YamlError> {
        let refuse = || YamlError::Text("map merge requires map or sequence of maps as the value".to_owned());
        match &self.node(id)?.content {
            Content::Mapping(pairs) => self.fill(pairs, out),
            Content::Alias { name, target } => match &self.node(*target)?.content {
                Content::Mapping(pairs) => self.through(name, *target, |c| c.fill(pairs, out)),
                _ => Err(refuse()),
            },
            // Earlier maps win over later ones.
            Content::Sequence(items) => items.iter().rev().try_for_each(|item| match &self.node(*item)?.content {
                Content::Mapping(_) | Content::Alias { .. } => self.merge(*item, out),
                _ => Err(refuse()),
            }),
            Content::Scalar { .. } => Err(refuse()),
        }
    }

    /// A mapping's key, as Go prints it and as JSON has it.
    fn key(&mut self, id: NodeId) -> Result<(String, String), YamlError> {
        let (tag, value, plain) = match &self.node(id)?.content {
            Content::Scalar { tag, value, plain } => (tag, value, *plain),
            Content::Alias { name, target } => {
                let target = *target;
                return self.through(name, target, |c| c.key(target));
            }
            Content::Sequence(_) | Content::Mapping(_) => {
                return Err(YamlError::Text("invalid map key: maps and lists cannot be keys".to_owned()));
            }
        };
        match resolve(tag.as_deref(), value, plain).map_err(YamlError::Text)? {
            Scalar::Text(text) => Ok((format!("{text:?}"), text)),
            Scalar::Merge => Ok(("\"<<\"".to_owned(), "<<".to_owned())),
            Scalar::Bool(b) => Ok((b.to_string(), b.to_string())),
            Scalar::Int(n) => Ok((n.to_string(), n.to_string())),
            Scalar::Uint(n) => Ok((n.to_string(), n.to_string())),
            Scalar::Float(f) => Ok((f.to_string(), f.to_string())),
            Scalar::Null => Err(YamlError::Json(format!("unsupported map key of type: invalid, key: <nil>, value: {value:?}"))),
        }
    }
}

fn to_json(scalar: Scalar) -> Result<Value, YamlError> {
    /// Below this Go writes whole doubles without an exponent.
    const PLAIN: f64 = 9_007_199_254_740_992.0;
    Ok(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(b) => Value::Bool(b),
        Scalar::Int(n) => Value::from(n),
        Scalar::Uint(n) => Value::from(n),
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within the exact range")]
        Scalar::Float(f) if f.fract() == 0.0 && f.abs() < PLAIN => Value::from(f as i64),
        Scalar::Float(f) => match serde_json::Number::from_f64(f) {
            Some(n) => Value::Number(n),
            None => {
                let name = if f.is_nan() {
                    "NaN"
                } else if f > 0.0 {
                    "+Inf"
                } else {
                    "-Inf"
                };
                return Err(YamlError::Json(format!("json: unsupported value: {name}")));
            }
        },
        Scalar::Text(text) => Value::from(text),
        Scalar::Merge => Value::from("<<"),
    })
}
