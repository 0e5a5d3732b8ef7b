//! What a scalar means, by go-yaml v2's rules (YAML 1.1 with its own exceptions).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

const TAG_PREFIX: &str = "tag:yaml.org,2002:";

/// A scalar's meaning.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    /// A plain `<<`.
    Merge,
}

impl Scalar {
    fn tag(&self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool(_) => "!!bool",
            Self::Int(_) | Self::Uint(_) => "!!int",
            Self::Float(_) => "!!float",
            Self::Text(_) => "!!str",
            Self::Merge => "!!merge",
        }
    }
}

/// Resolves a scalar. The error is go-yaml's sentence.
pub(super) fn resolve(tag: Option<&str>, value: &str, plain: bool) -> Result<Scalar, String> {
    let short = match tag {
        None | Some("") => {
            return Ok(if plain { guess(value) } else { Scalar::Text(value.to_owned()) });
        }
        // A lone `!` says: no guessing.
        Some("!") => return Ok(Scalar::Text(value.to_owned())),
        Some(tag) => match tag.strip_prefix(TAG_PREFIX) {
            Some(name) => name,
            // Tags of others mean nothing here.
            None => return Ok(Scalar::Text(value.to_owned())),
        },
    };
    match short {
        "str" => Ok(Scalar::Text(value.to_owned())),
        "binary" => {
            let clean: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            match BASE64_STANDARD.decode(clean) {
                Ok(bytes) => Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned())),
                Err(_) => Err("!!binary value contains invalid base64 data".to_owned()),
            }
        }
        "null" | "bool" | "int" | "float" | "merge" => {
            #[expect(clippy::cast_precision_loss, reason = "the user asked for a float")]
            let found = match (short, guess(value)) {
                ("float", Scalar::Int(n)) => Scalar::Float(n as f64),
                ("float", Scalar::Uint(n)) => Scalar::Float(n as f64),
                (_, other) => other,
            };
            let wanted = format!("!!{short}");
            if found.tag() == wanted { Ok(found) } else { Err(format!("cannot decode {} `{value}` as a {wanted}", found.tag())) }
        }
        _ => Ok(Scalar::Text(value.to_owned())),
    }
}

fn guess(value: &str) -> Scalar {
    if let Some(scalar) = word(value) {
        return scalar;
    }
    match value.as_bytes().first() {
        Some(b'+' | b'-' | b'0'..=b'9') => number(value).unwrap_or_else(|| Scalar::Text(value.to_owned())),
        Some(b'.') => float(value).map_or_else(|| Scalar::Text(value.to_owned()), Scalar::Float),
        _ => Scalar::Text(value.to_owned()),
    }
}

fn word(value: &str) -> Option<Scalar> {
    Some(match value {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        "<<" => Scalar::Merge,
        _ => return None,
    })
}

fn number(value: &str) -> Option<Scalar> {
    let plain: String = value.chars().filter(|c| *c != '_').collect();
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (radix, digits) = base(digits);
    // A second sign would be read by `from_str_radix`, but it is no digit.
    let whole = digits.chars().next().filter(|c| c.is_digit(radix)).and_then(|_| u64::from_str_radix(digits, radix).ok());
    let int = whole.and_then(|n| match (negative, i64::try_from(n)) {
        (false, Ok(n)) => Some(Scalar::Int(n)),
        (true, Ok(n)) => Some(Scalar::Int(-n)),
        (true, Err(_)) if n == i64::MIN.unsigned_abs() => Some(Scalar::Int(i64::MIN)),
        (false, Err(_)) if !plain.starts_with('+') => Some(Scalar::Uint(n)),
        _ => None,
    });
    int.or_else(|| float(&plain).map(Scalar::Float))
}

/// Go's prefixes for base 0: a leading zero is octal.
fn base(digits: &str) -> (u32, &str) {
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return (radix, rest);
        }
    }
    match digits.strip_prefix('0') {
        Some(rest) if !rest.is_empty() => (8, rest),
        _ => (10, digits),
    }
}

/// go-yaml's pattern: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn float(value: &str) -> Option<f64> {
    let unsigned = value.strip_prefix(['-', '+']).unwrap_or(value);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at)?, Some(unsigned.get(at + 1..)?)),
        None => (unsigned, None),
    };
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let mantissa_ok = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    let exponent_ok = exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)));
    if !mantissa_ok || !exponent_ok {
        return None;
    }
    value.parse().ok().filter(|f: &f64| f.is_finite())
}
