//! The refusal, as Kubernetes words it; clients and tests match on it.

use api::ApiError;

use crate::identity::Attributes;

/// 403: `pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"`, and the reason if there is one.
pub fn forbidden(attributes: &Attributes, reason: &str) -> ApiError {
    let sentence = sanitize(&sentence(attributes));
    let why = if reason.is_empty() { sentence } else { format!("{sentence}: {reason}") };
    ApiError::forbidden(&attributes.group, &attributes.resource, &attributes.name, &why)
}

fn sentence(a: &Attributes) -> String {
    let user = &a.user.name;
    if a.resource.is_empty() {
        return format!("User {user:?} cannot {} path {:?}", a.verb, a.path);
    }
    let resource = resource_path(a);
    let head = format!("User {user:?} cannot {} resource {resource:?} in API group {:?}", a.verb, a.group);
    if a.namespace.is_empty() { format!("{head} at the cluster scope") } else { format!("{head} in the namespace {:?}", a.namespace) }
}

/// `pods` or `pods/log`.
pub(super) fn resource_path(a: &Attributes) -> String {
    if a.subresource.is_empty() { a.resource.clone() } else { format!("{}/{}", a.resource, a.subresource) }
}

/// What a caller chose must not become markup in a browser.
fn sanitize(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::UserInfo;

    #[test]
    fn the_sentence_names_user_verb_resource_and_place() {
        let pods = Attributes {
            user: UserInfo::new("x", &[]),
            verb: "list".into(),
            version: "v1".into(),
            resource: "pods".into(),
            namespace: "default".into(),
            ..Attributes::default()
        };
        let cases = [
            (pods.clone(), r#"pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default""#),
            (
                Attributes {
                    group: "apps".into(),
                    resource: "deployments".into(),
                    subresource: "scale".into(),
                    name: "web".into(),
                    ..pods.clone()
                },
                r#"deployments.apps "web" is forbidden: User "x" cannot list resource "deployments/scale" in API group "apps" in the namespace "default""#,
            ),
            (
                Attributes { resource: "nodes".into(), namespace: String::new(), ..pods.clone() },
                r#"nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope"#,
            ),
            (
                Attributes { user: UserInfo::new("<b>", &[]), verb: "get".into(), path: "/metrics".into(), ..Attributes::default() },
                r#"forbidden: User "&lt;b&gt;" cannot get path "/metrics""#,
            ),
        ];
        for (attributes, want) in cases {
            assert_eq!(forbidden(&attributes, "").message, want);
        }
        assert!(forbidden(&pods, "because").message.ends_with("\"default\": because"));
    }
}
