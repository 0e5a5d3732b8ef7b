//! Acting as somebody else: the `Impersonate-*` headers (upstream `apiserver/pkg/endpoints/filters/impersonation`).

use api::ApiError;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::forbidden::forbidden;
use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED};
use crate::identity::{Attributes, Authorizer, Decision, UserInfo};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Who the request wants to act as: `Ok(None)` if it does not want to. Refused (403) unless the caller may `impersonate` every
/// single user, group, UID and extra value; refused (400) if it names anything but no user.
pub async fn impersonated(headers: &HeaderMap, caller: &UserInfo, authorizer: &dyn Authorizer) -> Result<Option<UserInfo>, ApiError> {
    let wanted = Wanted::of(headers);
    if wanted.user.is_empty() {
        if wanted.groups.is_empty() && wanted.extra.is_empty() && wanted.uid.is_empty() {
            return Ok(None);
        }
        return Err(ApiError::bad_request(format!("requested {} without impersonating a user", wanted.shown())));
    }
    for question in wanted.questions(caller) {
        match authorizer.authorize(&question).await {
            Decision::Allow(_) => {}
            Decision::NoOpinion(reason) | Decision::Deny(reason) => return Err(forbidden(&question, &reason)),
        }
    }
    Ok(Some(wanted.user_info()))
}

#[derive(Default)]
struct Wanted {
    user: String,
    groups: Vec<String>,
    uid: String,
    extra: Vec<(String, String)>,
}

impl Wanted {
    fn of(headers: &HeaderMap) -> Self {
        let texts =
            |name: &str| -> Vec<String> { headers.get_all(name).iter().filter_map(|v| Some(v.to_str().ok()?.to_owned())).collect() };
        let first = |name: &str| texts(name).into_iter().next().unwrap_or_default();
        let mut extra = Vec::new();
        for name in headers.keys() {
            if let Some(key) = name.as_str().strip_prefix(EXTRA) {
                let key = percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), |k| k.to_lowercase());
                extra.extend(texts(name.as_str()).into_iter().map(|value| (key.clone(), value)));
            }
        }
        Self { user: first(USER), groups: texts(GROUP), uid: first(UID), extra }
    }

    fn service_account(&self) -> Option<(&str, &str)> {
        let (namespace, name) = self.user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
    }

    fn questions(&self, caller: &UserInfo) -> Vec<Attributes> {
        let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
            user: caller.clone(),
            verb: "impersonate".into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        };
        let mut out = vec![match self.service_account() {
            Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name),
            None => ask("", "users", "", "", &self.user),
        }];
        out.extend(self.groups.iter().map(|g| ask("", "groups", "", "", g)));
        out.extend(self.extra.iter().map(|(key, value)| ask(AUTHENTICATION, "userextras", key, "", value)));
        if !self.uid.is_empty() {
            out.push(ask(AUTHENTICATION, "uids", "", "", &self.uid));
        }
        out
    }

    fn user_info(self) -> UserInfo {
        let mut groups = self.groups.clone();
        if let (true, Some((namespace, _))) = (groups.is_empty(), self.service_account()) {
            groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        }
        let has = |group: &str| groups.iter().any(|g| g == group);
        let added = if self.user == ANONYMOUS {
            (!has(UNAUTHENTICATED)).then_some(UNAUTHENTICATED)
        } else {
            (!has(AUTHENTICATED) && !has(UNAUTHENTICATED)).then_some(AUTHENTICATED)
        };
        groups.extend(added.map(str::to_owned));
        let mut user = UserInfo { name: self.user, uid: self.uid, groups, ..UserInfo::default() };
        for (key, value) in self.extra {
            user.extra.entry(key).or_default().push(value);
        }
        user
    }

    fn shown(&self) -> String {
        let mut parts: Vec<String> = self.groups.iter().map(|g| format!("{{Group  {g}    }}")).collect();
        parts.extend(self.extra.iter().map(|(k, v)| format!("{{UserExtra  {v}  authentication.k8s.io/v1  {k}}}")));
        if !self.uid.is_empty() {
            parts.push(format!("{{UID  {}  authentication.k8s.io/v1  }}", self.uid));
        }
        format!("[{}]", parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Allows what its list names as `resource[/subresource]:name`.
    struct Allowed(&'static [&'static str]);

    #[async_trait::async_trait]
    impl Authorizer for Allowed {
        async fn authorize(&self, a: &Attributes) -> Decision {
            let asked = format!("{}:{}", super::super::forbidden::resource_path(a), a.name);
            if self.0.contains(&asked.as_str()) { Decision::Allow(String::new()) } else { Decision::NoOpinion(String::new()) }
        }

        async fn rules(&self, _: &UserInfo, _: &str) -> Value {
            Value::Null
        }
    }

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut out = HeaderMap::new();
        for (name, value) in list {
            out.append(*name, value.parse().unwrap());
        }
        out
    }

    #[tokio::test]
    async fn every_single_part_must_be_allowed() {
        let admin = UserInfo::new("admin", &[]);
        let all = Allowed(&["users:bob", "groups:dev", "userextras/scopes:view", "uids:7", "serviceaccounts:sa"]);
        assert_eq!(impersonated(&headers(&[]), &admin, &all).await.unwrap(), None);

        let asked = headers(&[(USER, "bob"), (GROUP, "dev"), ("impersonate-extra-scopes", "view"), (UID, "7")]);
        let user = impersonated(&asked, &admin, &all).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("bob", "7"));
        assert_eq!(user.groups, ["dev", "system:authenticated"]);
        assert_eq!(user.extra["scopes"], ["view"]);

        let sa = impersonated(&headers(&[(USER, "system:serviceaccount:ns:sa")]), &admin, &all).await.unwrap().unwrap();
        assert_eq!(sa.groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);

        let error = impersonated(&asked, &admin, &Allowed(&["users:bob"])).await.unwrap_err();
        assert_eq!(
            error.message,
            r#"groups "dev" is forbidden: User "admin" cannot impersonate resource "groups" in API group "" at the cluster scope"#
        );
        assert_eq!(impersonated(&headers(&[(GROUP, "dev")]), &admin, &all).await.unwrap_err().code, 400);
    }
}
