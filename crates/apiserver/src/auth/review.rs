//! The kinds that ask about rights: they are answered, never stored (upstream `pkg/registry/authorization`).

use api::ApiError;
use api::field::{Error, ErrorList, Path};
use serde_json::{Map, Value, json};

use super::rbac::rule::Rule;
use crate::identity::{Attributes, Authorizer, Decision, UserInfo};

const GROUP: &str = "authorization.k8s.io";

/// Answers a `SubjectAccessReview`, `LocalSubjectAccessReview`, `SelfSubjectAccessReview`, `SelfSubjectRulesReview` or
/// `SelfSubjectReview` (group `authentication.k8s.io`) by filling its `status`; 422 if it asks badly.
///
/// `namespace` is the request's, for the local review. `now` becomes the creation time of a `SelfSubjectReview`.
pub async fn answer(
    kind: &str,
    mut review: Value,
    caller: &UserInfo,
    namespace: &str,
    now: &str,
    authorizer: &dyn Authorizer,
) -> Result<Value, ApiError> {
    let status = match kind {
        "SelfSubjectReview" => {
            set(&mut review, "metadata", json!({"creationTimestamp": now}));
            json!({"userInfo": user_json(caller)})
        }
        "SelfSubjectRulesReview" => {
            let namespace = review.pointer("/spec/namespace").and_then(Value::as_str).unwrap_or_default();
            if namespace.is_empty() {
                return Err(ApiError::bad_request("no namespace on request"));
            }
            authorizer.rules(caller, namespace).await
        }
        _ => {
            let errs = validate(kind, &review);
            if !errs.is_empty() {
                return Err(ApiError::invalid(GROUP, kind, "", &errs));
            }
            if kind == "LocalSubjectAccessReview" && review.pointer("/metadata/namespace").and_then(Value::as_str) != Some(namespace) {
                return Err(ApiError::bad_request(format!("spec.resourceAttributes.namespace must match namespace: {namespace}")));
            }
            let spec = review.get("spec").unwrap_or(&Value::Null);
            let user = if kind == "SelfSubjectAccessReview" { caller.clone() } else { user_of(spec) };
            access_status(authorizer.authorize(&attributes(spec, user)).await)
        }
    };
    set(&mut review, "status", status);
    Ok(review)
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(o) = object.as_object_mut() {
        o.insert(key.to_owned(), value);
    }
}

fn access_status(decision: Decision) -> Value {
    let (allowed, denied, reason) = match decision {
        Decision::Allow(reason) => (true, false, reason),
        Decision::Deny(reason) => (false, true, reason),
        Decision::NoOpinion(reason) => (false, false, reason),
    };
    let mut status = json!({"allowed": allowed});
    if denied {
        set(&mut status, "denied", true.into());
    }
    if !reason.is_empty() {
        set(&mut status, "reason", reason.into());
    }
    status
}

/// A user as the review kinds show it.
pub(super) fn user_json(user: &UserInfo) -> Value {
    let mut out = Map::new();
    out.insert("username".to_owned(), user.name.clone().into());
    if !user.uid.is_empty() {
        out.insert("uid".to_owned(), user.uid.clone().into());
    }
    if !user.groups.is_empty() {
        out.insert("groups".to_owned(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        out.insert("extra".to_owned(), json!(user.extra));
    }
    Value::Object(out)
}

fn user_of(spec: &Value) -> UserInfo {
    let word = |key: &str| spec.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let words = |v: &Value| -> Vec<String> { v.as_array().into_iter().flatten().filter_map(|w| Some(w.as_str()?.to_owned())).collect() };
    let extra = spec.get("extra").and_then(Value::as_object).into_iter().flatten();
    UserInfo {
        name: word("user"),
        uid: word("uid"),
        groups: spec.get("groups").map(words).unwrap_or_default(),
        extra: extra.map(|(k, v)| (k.clone(), words(v))).collect(),
    }
}

fn attributes(spec: &Value, user: UserInfo) -> Attributes {
    let about = |branch: &str, key: &str| spec.get(branch).and_then(|b| b.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned();
    if spec.get("resourceAttributes").is_none_or(Value::is_null) {
        return Attributes {
            user,
            verb: about("nonResourceAttributes", "verb"),
            path: about("nonResourceAttributes", "path"),
            ..Attributes::default()
        };
    }
    let of = |key: &str| about("resourceAttributes", key);
    let version = of("version");
    let selector = spec.pointer("/resourceAttributes/fieldSelector").unwrap_or(&Value::Null);
    Attributes {
        user,
        verb: of("verb"),
        group: of("group"),
        version: if version.is_empty() { "*".to_owned() } else { version },
        resource: of("resource"),
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
        field_equals: field_equals(selector),
        ..Attributes::default()
    }
}

/// The equalities of a field selector. What cannot be read is left out, which only widens the question.
fn field_equals(selector: &Value) -> std::collections::BTreeMap<String, String> {
    let mut out = std::collections::BTreeMap::new();
    for part in selector.get("rawSelector").and_then(Value::as_str).unwrap_or_default().split(',') {
        if let (false, Some((key, value))) = (part.contains("!="), part.split_once('=')) {
            out.insert(key.trim().to_owned(), value.trim_start_matches('=').trim().to_owned());
        }
    }
    for requirement in selector.get("requirements").and_then(Value::as_array).into_iter().flatten() {
        let values = requirement.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if let (Some("In"), Some(key), [Value::String(value)]) =
            (requirement.get("operator").and_then(Value::as_str), requirement.get("key").and_then(Value::as_str), values)
        {
            out.insert(key.to_owned(), value.clone());
        }
    }
    out
}

fn validate(kind: &str, review: &Value) -> ErrorList {
    let null = Value::Null;
    let spec = review.get("spec").unwrap_or(&null);
    let path = Path::new("spec");
    let (resource, other) = (spec.get("resourceAttributes").unwrap_or(&null), spec.get("nonResourceAttributes").unwrap_or(&null));
    let mut errs = ErrorList::new();
    if !resource.is_null() && !other.is_null() {
        errs.push(Error::invalid(
            &path.child("nonResourceAttributes"),
            other.clone(),
            "cannot be specified in combination with resourceAttributes",
        ));
    }
    if resource.is_null() && other.is_null() {
        const ONE: &str = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errs.push(Error::invalid(&path.child("resourceAttributes"), Value::Null, ONE));
    }
    let nobody = spec.get("user").and_then(Value::as_str).unwrap_or_default().is_empty()
        && spec.get("groups").and_then(Value::as_array).is_none_or(Vec::is_empty);
    if kind != "SelfSubjectAccessReview" && nobody {
        errs.push(Error::invalid(&path.child("user"), "", "at least one of user or group must be specified"));
    }
    if kind == "LocalSubjectAccessReview" {
        let namespace = review.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        let asked = resource.get("namespace").and_then(Value::as_str).unwrap_or_default();
        if !resource.is_null() && asked != namespace {
            errs.push(Error::invalid(&path.child("resourceAttributes").child("namespace"), asked, "must match metadata.namespace"));
        }
        if !other.is_null() {
            errs.push(Error::invalid(&path.child("nonResourceAttributes"), other.clone(), "disallowed on this kind of request"));
        }
    }
    errs
}

/// The `status` of a `SelfSubjectRulesReview`. Masters may do everything, whatever the roles say.
pub(super) fn rules_status(rules: &[Rule], user: &UserInfo, incomplete: Option<&str>) -> Value {
    let mut resource: Vec<Value> = Vec::new();
    let mut other: Vec<Value> = Vec::new();
    if user.groups.iter().any(|g| g == super::MASTERS) {
        resource.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        other.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    for rule in rules {
        if !rule.resources.is_empty() {
            let mut shown = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                set(&mut shown, "resourceNames", json!(rule.resource_names));
            }
            resource.push(shown);
        }
        if !rule.non_resource_urls.is_empty() {
            other.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
        }
    }
    let mut status = json!({"resourceRules": resource, "nonResourceRules": other, "incomplete": incomplete.is_some()});
    if let Some(why) = incomplete {
        set(&mut status, "evaluationError", why.into());
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Only(&'static str);

    #[async_trait::async_trait]
    impl Authorizer for Only {
        async fn authorize(&self, a: &Attributes) -> Decision {
            if a.user.name == self.0 { Decision::Allow("because".into()) } else { Decision::NoOpinion(String::new()) }
        }

        async fn rules(&self, user: &UserInfo, _: &str) -> Value {
            rules_status(&[], user, None)
        }
    }

    #[tokio::test]
    async fn reviews_are_answered_or_refused() {
        let caller = UserInfo::new("me", &["g"]);
        let ask = async |kind: &str, review: Value| answer(kind, review, &caller, "ns", "2026-01-01T00:00:00Z", &Only("me")).await;
        let pods = json!({"verb": "get", "resource": "pods", "namespace": "ns"});

        let own = ask("SelfSubjectAccessReview", json!({"spec": {"resourceAttributes": pods}})).await.unwrap();
        assert_eq!(own["status"], json!({"allowed": true, "reason": "because"}));
        let other = ask("SubjectAccessReview", json!({"spec": {"user": "you", "resourceAttributes": pods}})).await.unwrap();
        assert_eq!(other["status"], json!({"allowed": false}));
        let who = ask("SelfSubjectReview", json!({})).await.unwrap();
        assert_eq!(who["status"], json!({"userInfo": {"username": "me", "groups": ["g"]}}));

        let nothing = ask("SubjectAccessReview", json!({"spec": {}})).await.unwrap_err();
        assert_eq!(nothing.code, 422);
        assert!(nothing.message.contains("spec.user: Invalid value: \"\": at least one of user or group must be specified"), "{nothing}");
        let elsewhere = json!({"metadata": {"namespace": "ns"}, "spec": {"user": "u", "resourceAttributes": {"namespace": "x"}}});
        assert_eq!(ask("LocalSubjectAccessReview", elsewhere).await.unwrap_err().code, 422);
        assert_eq!(ask("SelfSubjectRulesReview", json!({"spec": {}})).await.unwrap_err().code, 400);
    }
}
