//! A request's whole way. Whoever has read this page knows where everything is.
//!
//! ```text
//! TLS (serve) → RequestInfo → authentication → impersonation → flow control → authorization → registry:
//!   decode → default → mutating admission → default → strategy.prepare → validate → validating admission
//!   → store (compare-and-swap) → encode
//! ```

use std::sync::Arc;

use api::{ApiError, meta, validation};
use http::header::USER_AGENT;
use http::{Request, Response};
use serde_json::Value;

use crate::admission::{self, Operation};
use crate::allocate::Reservation;
use crate::auth::{self, forbidden};
use crate::body::Body;
use crate::call::Call;
use crate::identity::{Decision, Peer, UserInfo};
use crate::negotiate::{Accept, Views};
use crate::request::{Query, RequestInfo};
use crate::server::Server;
use crate::{model, registry, respond, routes};

/// Where a request comes from.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A connection; its identity is yet to be found out.
    Connection(Peer),
    /// A component in this process.
    Component(UserInfo),
}

/// Answers one request. Every error becomes a `Status` here.
pub async fn handle(server: Arc<Server>, request: Request<Body>, caller: Caller) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), &query);
    let (verb, resource) = (info.verb.clone(), info.resource.clone());
    let headers = parts.headers.clone();
    let answer = serve(&server, parts, body, query, info, caller).await;
    let response = answer.unwrap_or_else(|error| respond::error(&error, &headers));
    server.metrics.count(&verb, &resource, response.status().as_u16());
    response
}

async fn serve(
    server: &Arc<Server>,
    mut parts: http::request::Parts,
    body: Body,
    query: Query,
    info: RequestInfo,
    caller: Caller,
) -> Result<Response<Body>, ApiError> {
    let far = matches!(&caller, Caller::Connection(peer) if peer.address.is_some_and(|a| !a.ip().is_loopback()));
    let user = authenticate(server, &parts, caller).await?;
    let acted = auth::impersonation::impersonated(&parts.headers, &user, &*server.authorizer).await?;
    let user = acted.unwrap_or(user);
    let _place = server.limits.admit(&info, &user)?;
    authorize(server, &info, &user).await?;

    if !info.is_resource {
        return routes::serve(server, &parts, &info, &user).await;
    }
    let found = server.catalog.get(&info.group, &info.version, &info.resource);
    let Some(resource) = found else { return Ok(respond::no_such_page()) };
    let views = if resource.is_stored() || resource.plural() == "componentstatuses" { Views::All } else { Views::ObjectOnly };
    let mut accept = match info.subresource.as_str() {
        // What these answer is the kubelet's or the application's own business.
        "log" | "proxy" | "exec" | "attach" | "portforward" => Accept::default(),
        _ => Accept::parse(&parts.headers, views)?,
    };
    let agent = parts.headers.get(USER_AGENT).and_then(|a| a.to_str().ok()).unwrap_or_default();
    let human = agent.starts_with("curl") || agent.starts_with("Wget") || agent.starts_with("Mozilla/5.0");
    accept.pretty |= if query.last("pretty").is_some() { query.flag("pretty") } else { human };
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let call = Call::new(server.clone(), resource, info, user, query, parts.headers, accept, far);
    if let Some(sentence) = deprecation(&call) {
        call.warn(sentence);
    }
    let mut response = registry::serve(&call, parts.method, body, upgrade).await?;
    respond::add_warnings(&mut response, &call.warnings());
    Ok(response)
}

/// What Kubernetes says to everybody who uses a kind that is going out of use.
fn deprecation(call: &Call) -> Option<&'static str> {
    match (call.group(), call.plural()) {
        ("", "endpoints") => Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

async fn authenticate(server: &Server, parts: &http::request::Parts, caller: Caller) -> Result<UserInfo, ApiError> {
    let peer = match caller {
        Caller::Component(user) => return Ok(user),
        Caller::Connection(peer) => peer,
    };
    Ok(server.authenticator.authenticate(parts, &peer).await?.unwrap_or_else(auth::anonymous))
}

async fn authorize(server: &Server, info: &RequestInfo, user: &UserInfo) -> Result<(), ApiError> {
    let question = info.attributes(user);
    match server.authorizer.authorize(&question).await {
        Decision::Allow(_) => Ok(()),
        Decision::NoOpinion(why) | Decision::Deny(why) => Err(forbidden(&question, &why)),
    }
}

/// An object that has passed everything before the store.
pub struct Shaped {
    /// The object.
    pub tree: Value,
    /// Addresses and ports that become its own when the write succeeds.
    pub reservation: Reservation,
}

/// The writing half of the way, from the decoded object to the store's door. `new` has its name and namespace; `old` is
/// the stored object (for an update).
pub async fn shape(call: &Call, operation: Operation, mut new: Value, old: Option<&Value>) -> Result<Shaped, ApiError> {
    let resource = &call.resource;
    let (gvk, subresource) = (resource.gvk(), call.info.subresource.as_str());
    model::default(&gvk, &mut new);
    let review = admission::Review { call, operation, old };
    admission::mutate(&call.server.admission, &review, &mut new).await?;
    model::default(&gvk, &mut new);

    let reservation = call.server.allocator.reserve(call, &mut new, old)?;
    match old {
        None => {
            resource.strategy.prepare_create(&mut new);
            resource.strategy.note_requester(&mut new, &call.user);
            registry::fields::fill_new(call, &mut new);
            if (gvk.group.as_str(), gvk.kind.as_str()) == ("batch", "Job") {
                // Its labels hold its UID, which it has only now.
                api::defaults::select_own_pods(&mut new);
            }
        }
        Some(old) => {
            registry::fields::keep_generation(&mut new, old);
            match subresource {
                "" | "scale" => resource.strategy.prepare_update(&mut new, old),
                _ => resource.strategy.prepare_subresource(subresource, &mut new, old),
            }
            registry::fields::keep_system_fields(&mut new, old);
        }
    }
    let (group, version, kind) = (gvk.group.as_str(), gvk.version.as_str(), gvk.kind.as_str());
    let errors = match old {
        None => validation::create(group, version, kind, &new),
        Some(old) => validation::update_subresource((group, version, kind), subresource, &new, old),
    };
    if !errors.is_empty() {
        return Err(ApiError::invalid(group, kind, meta::name(&new), &errors));
    }
    for sentence in resource.strategy.warnings(&new, old) {
        call.warn(sentence);
    }
    admission::validate(&call.server.admission, &review, &new).await?;
    Ok(Shaped { tree: new, reservation })
}
