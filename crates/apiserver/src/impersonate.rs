//! `kubectl --as`: the caller acts as somebody else, if it may.

use api::ApiError;
use http::HeaderMap;

use crate::identity::{Attributes, Authorizer, Decision, UserInfo};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The user that the request acts as.
pub async fn resolve(headers: &HeaderMap, user: UserInfo, authorizer: &dyn Authorizer) -> Result<UserInfo, ApiError> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let wanted = UserInfo {
        name: text(USER),
        uid: text(UID),
        groups: headers.get_all(GROUP).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect(),
        extra: extra(headers),
    };
    if wanted == UserInfo::default() {
        return Ok(user);
    }
    if wanted.name.is_empty() {
        let given = format!("requested [{{UID  {}}} {:?}] without impersonating a user", wanted.uid, wanted.groups);
        return Err(ApiError::internal(given));
    }
    for question in questions(&user, &wanted) {
        let Decision::Allow(_) = authorizer.authorize(&question).await else { return Err(crate::pipeline::forbidden(&question, "")) };
    }
    Ok(complete(wanted))
}

fn extra(headers: &HeaderMap) -> std::collections::BTreeMap<String, Vec<String>> {
    let mut extra = std::collections::BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
            extra.entry(key).or_default().push(value.to_owned());
        }
    }
    extra
}

fn questions(user: &UserInfo, wanted: &UserInfo) -> Vec<Attributes> {
    let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
        user: user.clone(),
        verb: "impersonate".to_owned(),
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        path: String::new(),
    };
    let mut all = vec![match service_account(&wanted.name) {
        Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name),
        None => ask("", "users", "", "", &wanted.name),
    }];
    if !wanted.uid.is_empty() {
        all.push(ask(AUTHENTICATION, "uids", "", "", &wanted.uid));
    }
    all.extend(wanted.groups.iter().map(|g| ask("", "groups", "", "", g)));
    for (key, values) in &wanted.extra {
        all.extend(values.iter().map(|v| ask(AUTHENTICATION, "userextras", key, "", v)));
    }
    all
}

fn service_account(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("system:serviceaccount:")?.split_once(':')
}

/// Adds the groups that such a user has by itself.
fn complete(mut wanted: UserInfo) -> UserInfo {
    if wanted.groups.is_empty()
        && let Some((namespace, _)) = service_account(&wanted.name)
    {
        wanted.groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let anonymous = wanted.name == "system:anonymous";
    let own = if anonymous { "system:unauthenticated" } else { "system:authenticated" };
    if !wanted.groups.iter().any(|g| g == "system:authenticated" || g == "system:unauthenticated") {
        wanted.groups.push(own.to_owned());
    }
    wanted
}
