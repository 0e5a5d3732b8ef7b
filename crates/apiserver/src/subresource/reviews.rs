//! Questions about identities and rights.

use api::{ApiError, meta};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::auth;
use crate::body::Body;
use crate::call::Call;
use crate::registry::create;
use crate::registry::fields::timestamp;
use crate::request::WriteOptions;
use crate::respond;

/// Answers the request.
pub(super) async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = WriteOptions::parse(&call.query, "CreateOptions")?;
    let review = create::decode(call, body, &options).await?;
    let (server, kind) = (&call.server, call.resource.descriptor.kind.as_str());
    let mut answer = match kind {
        "TokenReview" => server.authenticator.review_token(review).await?,
        _ => {
            let now = timestamp(server.clock.now());
            auth::review::answer(kind, review, &call.user, &call.info.namespace, &now, &*server.authorizer).await?
        }
    };
    if let Some(metadata) = meta::metadata_mut(&mut answer) {
        metadata.entry("creationTimestamp").or_insert(Value::Null);
    }
    respond::tree(call, &answer, StatusCode::CREATED)
}
