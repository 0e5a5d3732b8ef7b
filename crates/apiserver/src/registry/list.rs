//! GET of a collection, whole or in pages of one revision.

use std::time::Duration;

use api::{ApiError, Reason};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use store::Revision;

use super::selection::Selection;
use super::store_failed;
use crate::body::Body;
use crate::cache::{Page, Picture, TooOld};
use crate::call::Call;
use crate::request::{AsOf, ListOptions};
use crate::respond::{self, view};

/// How long a read waits for a revision that has not come yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the next page starts (upstream's format, so that tokens look alike).
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    #[serde(rename = "v")]
    version: String,
    /// The revision of all pages; -1 when consistency was given up.
    rv: i64,
    /// The first key of the page, without the resource's prefix.
    start: String,
}

/// Answers the request.
pub async fn serve(call: &Call) -> Result<Response<Body>, ApiError> {
    let options = ListOptions::parse(&call.query, false)?;
    let selection = Selection::parse(call, &options.label_selector, &options.field_selector)?;
    let prefix = prefix(call);
    let token = options.continue_token.as_deref().map(decode).transpose()?;
    let at = moment(call, &options, token.as_ref()).await?;
    let from = token.as_ref().map(|t| format!("{prefix}{}", t.start)).unwrap_or_default();
    // Kubernetes answers "whatever is at hand" whole, also when a limit is given.
    let limit = if options.as_of == AsOf::Any && token.is_none() { 0 } else { options.limit };
    let page = Page { prefix: &prefix, from: &from, limit, at };
    let cache = call.server.storage.cache(&call.resource.prefix);
    let applied = call.server.storage.applied();
    let picture = cache.picture(&page, applied, |o| selection.matches(o));
    let picture = picture.map_err(|too_old| expired(&options, token.as_ref(), at, too_old))?;
    let metadata = metadata(&picture, &prefix, token.as_ref(), &selection);
    Ok(respond::pieces(call, view::list(call, &picture.objects, metadata)?))
}

/// The start of the keys that the request is about.
pub fn prefix(call: &Call) -> String {
    call.resource.key_prefix(&call.info.namespace)
}

async fn moment(call: &Call, options: &ListOptions, token: Option<&Token>) -> Result<Option<Revision>, ApiError> {
    if let Some(token) = token {
        return Ok(u64::try_from(token.rv).ok().map(Revision));
    }
    match options.as_of {
        AsOf::Any => Ok(None),
        AsOf::Newest => {
            call.server.storage.fresh().await.map_err(store_failed)?;
            Ok(None)
        }
        AsOf::NotOlderThan(revision) => not_older_than(call, revision).await.map(|()| None),
        AsOf::Exact(revision) => {
            not_older_than(call, revision).await?;
            Ok(Some(Revision(revision)))
        }
    }
}

/// Waits for the revision, but not for ever: it may never come.
pub async fn not_older_than(call: &Call, revision: u64) -> Result<(), ApiError> {
    let storage = &call.server.storage;
    let waited = tokio::time::timeout(PATIENCE, storage.reached(Revision(revision))).await;
    let waited = waited.map(|r| r.map_err(store_failed));
    waited.unwrap_or_else(|_| {
        let message = format!("Too large resource version: {revision}, current: {}", storage.applied().0);
        let mut error = ApiError::new(504, Reason::Timeout, format!("Timeout: {message}"));
        let cause = api::error::Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        error = error.with_cause(cause);
        if let Some(details) = error.details.as_mut() {
            details.retry_after_seconds = 1;
        }
        Err(error)
    })
}

fn metadata(picture: &Picture, prefix: &str, token: Option<&Token>, selection: &Selection) -> Value {
    let mut metadata = Map::new();
    // Pages that gave up consistency have the revision of their own moment.
    metadata.insert("resourceVersion".to_owned(), json!(picture.revision.0.to_string()));
    if picture.remaining > 0
        && let Some(last) = picture.objects.last()
    {
        let start = last.key().strip_prefix(prefix).unwrap_or_default();
        let rv = token.filter(|t| t.rv < 0).map_or_else(|| i64::try_from(picture.revision.0).unwrap_or(-1), |t| t.rv);
        metadata.insert("continue".to_owned(), json!(encode(rv, &format!("{start}\0"))));
        // With a selector upstream does not count what it has not looked at.
        if selection.is_empty() {
            metadata.insert("remainingItemCount".to_owned(), json!(picture.remaining));
        }
    }
    Value::Object(metadata)
}

fn encode(rv: i64, start: &str) -> String {
    let token = json!({"v": "meta.k8s.io/v1", "rv": rv, "start": start});
    URL_SAFE_NO_PAD.encode(token.to_string())
}

fn decode(text: &str) -> Result<Token, ApiError> {
    let bad = |why: &str| ApiError::bad_request(format!("continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|e| bad(&e.to_string()))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|e| bad(&e.to_string()))?;
    if token.version != "meta.k8s.io/v1" {
        return Err(bad(&format!("server does not recognize this encoded version {:?}", token.version)));
    }
    if token.rv == 0 {
        return Err(bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
    }
    Ok(token)
}

const TOKEN_EXPIRED: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token \
results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

fn expired(options: &ListOptions, token: Option<&Token>, at: Option<Revision>, too_old: TooOld) -> ApiError {
    match token {
        Some(token) => {
            let mut error = ApiError::expired(TOKEN_EXPIRED);
            error.continue_token = Some(encode(-1, &token.start));
            error
        }
        None => {
            let _ = options;
            too_old_version(at.unwrap_or_default(), too_old)
        }
    }
}

/// 410 for a revision that is no longer kept.
pub fn too_old_version(asked: Revision, too_old: TooOld) -> ApiError {
    ApiError::expired(format!("too old resource version: {} ({})", asked.0, too_old.floor.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_and_nonsense_is_refused() {
        let token = decode(&encode(7, "ns/a\0")).unwrap();
        assert_eq!((token.rv, token.start.as_str()), (7, "ns/a\0"));
        for bad in ["", "!!!", "e30", &URL_SAFE_NO_PAD.encode("{\"v\":\"x\",\"rv\":1,\"start\":\"a\"}")] {
            assert_eq!(decode(bad).unwrap_err().code, 400, "{bad}");
        }
    }
}
