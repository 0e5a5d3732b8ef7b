//! DELETE of a collection: every matching object by itself.

use std::sync::Arc;

use api::{ApiError, Reason};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _};
use http::Response;
use serde_json::json;

use super::delete::{self, Deleted};
use super::selection::Selection;
use super::store_failed;
use crate::body::Body;
use crate::cache::Page;
use crate::call::Call;
use crate::object::Object;
use crate::request::{DeleteOptions, ListOptions};
use crate::respond::{self, Made, view};

/// How many deletions are in work at once, so that they share commits without crowding out others.
const AT_ONCE: usize = 16;

/// Answers the request.
pub async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let options = delete::options(call, body).await?;
    let listing = ListOptions::parse(&call.query, false)?;
    let selection = Selection::parse(call, &listing.label_selector, &listing.field_selector)?;
    let applied = call.server.storage.fresh().await.map_err(store_failed)?;
    let prefix = call.resource.key_prefix(&call.info.namespace);
    let page = Page { prefix: &prefix, from: "", limit: listing.limit, at: None };
    let cache = call.server.storage.cache(&call.resource.prefix);
    let picture = cache.picture(&page, applied, |o| selection.matches(o)).map_err(|_| ApiError::internal("the window moved"))?;

    let deletions: Vec<BoxFuture<'_, _>> = picture.objects.iter().map(|o| one(call, o, &options)).collect();
    let deleted: Vec<Option<Made>> = futures::stream::iter(deletions).buffered(AT_ONCE).try_collect().await?;
    let objects: Vec<Arc<Object>> = deleted.into_iter().flatten().filter_map(stored).collect();
    let metadata = json!({"resourceVersion": call.server.storage.applied().0.to_string()});
    Ok(respond::pieces(call, view::list(call, &objects, metadata)?))
}

/// Deletes one of them; one that is already gone is no error.
fn one<'a>(call: &'a Call, object: &'a Object, options: &'a DeleteOptions) -> BoxFuture<'a, Result<Option<Made>, ApiError>> {
    Box::pin(async move {
        let mut info = call.info.clone();
        namespace_of(call, object).clone_into(&mut info.namespace);
        let call = call.about(call.resource.clone(), info);
        match delete::delete(&call, object.name(), options).await {
            Ok(Deleted::Gone(made) | Deleted::Pending(made)) => Ok(Some(made)),
            Err(e) if e.reason == Reason::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    })
}

fn stored(made: Made) -> Option<Arc<Object>> {
    match made {
        Made::Stored(object) => Some(object),
        Made::Tree(_) => None,
    }
}

/// The namespace in an object's key, or empty.
pub fn namespace_of<'a>(call: &Call, object: &'a Object) -> &'a str {
    let rest = object.key().strip_prefix(call.resource.prefix.as_str()).unwrap_or_default();
    if call.resource.descriptor.namespaced { rest.split('/').next().unwrap_or_default() } else { "" }
}
