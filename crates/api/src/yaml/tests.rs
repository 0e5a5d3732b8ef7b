use proptest::prelude::*;
use serde_json::json;

use super::*;

fn value(text: &str) -> Value {
    parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}")).0
}

#[test]
fn scalars_mean_what_go_yaml_says() {
    for (text, want) in [
        ("yes", json!(true)),
        ("on", json!(true)),
        ("y", json!(true)),
        ("Off", json!(false)),
        ("'yes'", json!("yes")),
        ("yEs", json!("yEs")),
        ("0777", json!(511)),
        ("0o777", json!(511)),
        ("1_000", json!(1000)),
        ("08", json!(8)),
        ("1e3", json!(1000)),
        ("0x1F", json!(31)),
        ("0b11", json!(3)),
        ("-12", json!(-12)),
        ("+12", json!(12)),
        ("1.5", json!(1.5)),
        (".5", json!(0.5)),
        ("1.", json!(1)),
        ("9223372036854775808", json!(9_223_372_036_854_775_808u64)),
        ("~", json!(null)),
        ("", json!(null)),
        ("null", json!(null)),
        ("!!binary aGk=", json!("hi")),
        ("!!str 12", json!("12")),
        ("! 12", json!("12")),
        ("!mine 12", json!("12")),
        ("!!float 1", json!(1)),
        ("2024-01-02", json!("2024-01-02")),
        ("1.2.3", json!("1.2.3")),
        ("-", json!([null])),
        ("\"a\\nb\"", json!("a\nb")),
        ("100m", json!("100m")),
        ("|\n a\n b\n", json!("a\nb\n")),
        ("0x", json!("0x")),
        ("1__0", json!(10)),
    ] {
        assert_eq!(value(text), want, "{text}");
    }
}

#[test]
fn keys_become_text() {
    assert_eq!(value("y: 1\non: 2\n3: c\n1.5: d"), json!({"true": 2, "3": "c", "1.5": "d"}));
    assert_eq!(value("a: {b: [1, {c: d}]}\n---\nsecond: 1"), json!({"a": {"b": [1, {"c": "d"}]}}));
}

#[test]
fn anchors_and_merges_are_followed() {
    let text = "base: &b {x: 1, y1: 2}\nuse:\n  <<: *b\n  y1: 3\nmany:\n  <<: [{p: 1, q: 1}, {q: 2, r: 2}]\ncopy: *b\n";
    assert_eq!(
        value(text),
        json!({"base": {"x": 1, "y1": 2}, "use": {"x": 1, "y1": 3}, "many": {"p": 1, "q": 1, "r": 2}, "copy": {"x": 1, "y1": 2}})
    );
}

#[test]
fn duplicates_are_told_with_their_lines() {
    let (v, duplicates) = parse(b"a: 1\nb:\n  foo: 1\n  bar: 2\n  foo: 3\na: 2\n").expect("valid");
    assert_eq!(v, json!({"a": 2, "b": {"foo": 3, "bar": 2}}));
    assert_eq!(
        duplicates.as_deref(),
        Some("yaml: unmarshal errors:\n  line 5: key \"foo\" already set in map\n  line 6: key \"a\" already set in map")
    );
}

#[test]
fn broken_texts_are_refused_in_go_yamls_words() {
    for (text, want) in [
        ("a: b: c", "yaml: mapping values are not allowed in this context"),
        ("a: 1\nb: c: d\n", "yaml: line 2: mapping values are not allowed in this context"),
        ("a: [1, 2\n", "yaml: line 1: did not find expected ',' or ']'"),
        ("a:\n\t- b\n", "yaml: line 2: found character that cannot start any token"),
        ("a: *nope", "yaml: unknown anchor 'nope' referenced"),
        ("&a [*a]", "yaml: anchor 'a' value contains itself"),
        ("!!int x", "yaml: cannot decode !!str `x` as a !!int"),
        ("a: .inf", "json: unsupported value: +Inf"),
        ("<<: 1", "yaml: map merge requires map or sequence of maps as the value"),
    ] {
        assert_eq!(parse(text.as_bytes()).map_err(|e| e.to_string()), Err(want.to_owned()), "{text}");
    }
}

#[test]
fn bombs_are_refused() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 9].join(",");
        text.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    assert_eq!(parse(text.as_bytes()).map_err(|e| e.to_string()), Err("yaml: document contains excessive aliasing".to_owned()));
    let deep = "[".repeat(100_000);
    assert!(parse(deep.as_bytes()).is_err());
}

proptest! {
    #[test]
    fn reading_never_panics(text in "[-a-z0-9:,&*!<{}\\[\\]\"'#|> \n\t]{0,80}") {
        let _ = parse(text.as_bytes());
    }

    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = parse(&bytes);
    }
}
