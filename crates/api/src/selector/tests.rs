use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::resources::by_plural;

#[test]
fn texts_are_read_and_printed_in_order() {
    for (text, want) in [
        ("", ""),
        ("a=b", "a=b"),
        (" z==1 , a!=2", "a!=2,z==1"),
        ("x in (c, a,b)", "x in (a,b,c)"),
        ("x notin (a)", "x notin (a)"),
        ("!x,y", "!x,y"),
        ("x>1,y<2", "x>1,y<2"),
        ("a=", "a="),
        ("a in (,)", "a in ()"),
        ("in in (in)", "in in (in)"),
        ("a.b/c", "a.b/c"),
    ] {
        assert_eq!(LabelSelector::parse(text).map(|s| s.to_string()), Ok(want.to_owned()), "{text}");
    }
}

#[test]
fn bad_texts_are_refused_in_kubernetes_words() {
    for (text, want) in [
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("x>a", "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer"),
        ("/x=a", "unable to parse requirement: <nil>: Invalid value: \"/x\": prefix part must be non-empty"),
        (
            "a=b@c",
            "unable to parse requirement: values[0][a]: Invalid value: \"b@c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
    ] {
        assert_eq!(LabelSelector::parse(text).map(|s| s.to_string()), Err(want.to_owned()), "{text}");
    }
}

#[test]
fn labels_match() {
    let o = json!({"metadata": {"labels": {"app": "web", "n": "5"}}});
    for (text, want) in [
        ("app=web", true),
        ("app!=web", false),
        ("x!=y", true),
        ("app in (db,web)", true),
        ("x notin (a)", true),
        ("x in (a)", false),
        ("app", true),
        ("!app", false),
        ("n>4", true),
        ("n<5", false),
        ("app>1", false),
        ("", true),
    ] {
        assert_eq!(LabelSelector::parse(text).map(|s| s.matches_object(&o)), Ok(want), "{text}");
    }
    let selector = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "n", "operator": "Exists"}]});
    assert_eq!(LabelSelector::from_object(&selector).map(|s| (s.matches_object(&o), s.to_string())), Ok((true, "app=web,n".to_owned())));
    assert_eq!(LabelSelector::from_object(&json!(null)).map(|s| s.matches_object(&o)), Ok(false));
    assert_eq!(LabelSelector::from_object(&json!({})).map(|s| s.matches_object(&o)), Ok(true));
    let bad = json!({"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["1"]}]});
    assert_eq!(LabelSelector::from_object(&bad), Err("\"Gt\" is not a valid label selector operator".to_owned()));
}

#[test]
fn fields_match() {
    let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n,1"}, "status": {"phase": "Running"}});
    let pods = by_plural("", "v1", "pods").expect("pods");
    for (text, want) in [
        ("metadata.name=a", true),
        ("spec.host=n\\,1,status.phase!=Failed", true),
        ("spec.hostNetwork==false", true),
        ("spec.nodeName!=n\\,1", false),
    ] {
        let selector = FieldSelector::parse(text).and_then(|s| s.for_resource(pods));
        assert_eq!(selector.map(|s| s.matches_object(&pod)), Ok(want), "{text}");
    }
    let complain = |text: &str| FieldSelector::parse(text).and_then(|s| s.for_resource(pods)).map(|s| s.to_string());
    assert_eq!(complain("spec.foo=a"), Err("field label not supported: spec.foo".to_owned()));
    assert_eq!(complain("foo"), Err("invalid selector: 'foo'; can't understand 'foo'".to_owned()));
    assert_eq!(complain("a=b=c"), Err("invalid field selector: unescaped character in value: 61".to_owned()));
    let maps = by_plural("", "v1", "configmaps").expect("configmaps");
    assert_eq!(
        FieldSelector::parse("data=x").and_then(|s| s.for_resource(maps)).map(|s| s.to_string()),
        Err("\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"".to_owned())
    );
    let event = json!({"reportingController": "kubelet", "regarding": {"kind": "Pod"}});
    assert_eq!((value(&event, "source"), value(&event, "involvedObject.kind")), ("kubelet".into(), "Pod".into()));
}

use super::fields::value;

proptest! {
    #[test]
    fn parsing_never_panics(text in "[-a-z!=<>(),é \\\\]{0,30}") {
        if let Ok(s) = LabelSelector::parse(&text) {
            prop_assert_eq!(LabelSelector::parse(&s.to_string()).map(|s| s.to_string()), Ok(s.to_string()));
        }
        if let Ok(s) = FieldSelector::parse(&text) {
            prop_assert_eq!(FieldSelector::parse(&s.to_string()), Ok(s));
        }
    }
}
