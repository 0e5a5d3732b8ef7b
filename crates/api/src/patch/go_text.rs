//! How Go's `%v` and `reflect.TypeOf` show JSON values: error messages that clients know carry them.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

/// The value as `%v` shows it.
pub(crate) fn shown(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

/// The object as `%v` shows it: `map[a:1 b:[x y]]`.
pub(super) fn shown_map(map: &Map<String, Value>) -> String {
    let mut out = String::new();
    write_map(&mut out, map);
    out
}

/// The name of the Go type that holds such a value.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => write_number(out, n),
        Value::String(s) => out.push_str(s),
        Value::Array(list) => {
            out.push('[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => write_map(out, map),
    }
}

fn write_map(out: &mut String, map: &Map<String, Value>) {
    out.push_str("map[");
    // Go sorts the keys when it prints a map; so does serde_json's map by itself.
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        out.push_str(key);
        out.push(':');
        write(out, value);
    }
    out.push(']');
}

fn write_number(out: &mut String, number: &Number) {
    let float = number.as_f64().filter(|_| number.is_f64());
    // Writing to a string cannot fail.
    let _ = match float {
        None => write!(out, "{number}"),
        Some(f) if f != 0.0 && !(1e-4..1e21).contains(&f.abs()) => {
            let text = format!("{f:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            write!(out, "{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        Some(f) => write!(out, "{f}"),
    };
}
