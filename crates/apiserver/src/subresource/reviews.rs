//! Questions about identities and rights.

use api::{ApiError, field, meta};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::identity::{Attributes, Decision, UserInfo};
use crate::registry::create;
use crate::request::WriteOptions;
use crate::respond;

/// Answers the request.
pub(super) async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let mut review = create::decode(call, body, &options).await?;
    let server = &call.server;
    match call.plural() {
        "tokenreviews" => {
            if text(&review, "/spec/token").is_empty() {
                return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
            }
            review = server.authenticator.review_token(review).await?;
        }
        "selfsubjectreviews" => set_status(&mut review, json!({"userInfo": user_value(&call.user)})),
        "selfsubjectaccessreviews" => {
            let question = question(call, &review, call.user.clone())?;
            answer(call, &mut review, question).await;
        }
        "subjectaccessreviews" | "localsubjectaccessreviews" => {
            let user = subject(call, &review)?;
            if call.plural() == "localsubjectaccessreviews" && text(&review, "/spec/resourceAttributes/namespace") != call.info.namespace {
                let message = format!("spec.resourceAttributes.namespace must match namespace: {}", call.info.namespace);
                return Err(ApiError::bad_request(message));
            }
            let question = question(call, &review, user)?;
            answer(call, &mut review, question).await;
        }
        "selfsubjectrulesreviews" => {
            let namespace = text(&review, "/spec/namespace").to_owned();
            if namespace.is_empty() {
                return Err(ApiError::bad_request("no namespace on request"));
            }
            let rules = server.authorizer.rules(&call.user, &namespace).await;
            set_status(&mut review, rules);
        }
        _ => return Err(ApiError::method_not_allowed()),
    }
    if let Some(metadata) = meta::metadata_mut(&mut review) {
        metadata.entry("creationTimestamp").or_insert(Value::Null);
    }
    respond::tree(call, &review, StatusCode::CREATED)
}

fn text<'a>(tree: &'a Value, pointer: &str) -> &'a str {
    tree.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn set_status(review: &mut Value, status: Value) {
    if let Some(fields) = review.as_object_mut() {
        fields.insert("status".to_owned(), status);
    }
}

/// A user as JSON.
fn user_value(user: &UserInfo) -> Value {
    let mut out = json!({"username": user.name, "groups": user.groups});
    if let Some(fields) = out.as_object_mut() {
        if !user.uid.is_empty() {
            fields.insert("uid".to_owned(), json!(user.uid));
        }
        if !user.extra.is_empty() {
            fields.insert("extra".to_owned(), json!(user.extra));
        }
    }
    out
}

fn subject(call: &Call, review: &Value) -> Result<UserInfo, ApiError> {
    let list = |v: &Value| v.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let groups = review.pointer("/spec/groups").map(list).unwrap_or_default();
    let extra = review.pointer("/spec/extra").and_then(Value::as_object);
    let extra = extra.map(|m| m.iter().map(|(k, v)| (k.to_lowercase(), list(v))).collect()).unwrap_or_default();
    let user = UserInfo { name: text(review, "/spec/user").to_owned(), uid: text(review, "/spec/uid").to_owned(), groups, extra };
    if user.name.is_empty() && user.groups.is_empty() {
        let path = field::Path::new("spec").child("user");
        return Err(invalid(call, field::Error::required(&path, "at least one of user or group must be specified")));
    }
    Ok(user)
}

fn invalid(call: &Call, error: field::Error) -> ApiError {
    ApiError::invalid(call.group(), &call.resource.descriptor.kind, "", &[error])
}

fn question(call: &Call, review: &Value, user: UserInfo) -> Result<Attributes, ApiError> {
    let path = field::Path::new("spec").child("resourceAttributes");
    let resource = review.pointer("/spec/resourceAttributes").filter(|v| v.is_object());
    let plain = review.pointer("/spec/nonResourceAttributes").filter(|v| v.is_object());
    match (resource, plain) {
        (Some(r), None) => {
            let of = |key: &str| r.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            Ok(Attributes {
                user,
                verb: of("verb"),
                group: of("group"),
                version: of("version"),
                resource: of("resource"),
                subresource: of("subresource"),
                namespace: of("namespace"),
                name: of("name"),
                path: String::new(),
            })
        }
        (None, Some(p)) => {
            let of = |key: &str| p.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            Ok(Attributes { user, verb: of("verb"), path: of("path"), ..Attributes::default() })
        }
        (Some(_), Some(_)) => {
            let nothing = field::Path::new("spec").child("nonResourceAttributes");
            Err(invalid(call, field::Error::invalid(&nothing, Value::Null, "cannot be specified in combination with resourceAttributes")))
        }
        (None, None) => {
            Err(invalid(call, field::Error::invalid(&path, Value::Null, "exactly one of nonResourceAttributes or resourceAttributes must be specified")))
        }
    }
}

async fn answer(call: &Call, review: &mut Value, question: Attributes) {
    let status = match call.server.authorizer.authorize(&question).await {
        Decision::Allow(why) => with_reason(json!({"allowed": true}), &why),
        Decision::NoOpinion(why) => with_reason(json!({"allowed": false}), &why),
        Decision::Deny(why) => with_reason(json!({"allowed": false, "denied": true}), &why),
    };
    set_status(review, status);
}

fn with_reason(mut status: Value, why: &str) -> Value {
    if let (false, Some(fields)) = (why.is_empty(), status.as_object_mut()) {
        fields.insert("reason".to_owned(), json!(why));
    }
    status
}
