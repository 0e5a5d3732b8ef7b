//! Requests from components in the same process: the pipeline without socket, TLS and authentication.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;

use crate::body::{Body, BoxError};
use crate::identity::UserInfo;
use crate::pipeline::Caller;
use crate::server::Server;

/// A tower service that acts as one user. It takes any body, `kube::client::Body` among them, and its own is one that
/// `kube::Client` takes.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<Server>,
    user: Arc<UserInfo>,
}

impl InProcess {
    pub(crate) fn new(server: Arc<Server>, user: UserInfo) -> Self {
        let user = Arc::new(user);
        server.components.note(&user);
        Self { server, user }
    }
}

impl<B> tower::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (server, user) = (self.server.clone(), self.user.clone());
        Box::pin(async move {
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            Ok(server.handle(request, Caller::Component((*user).clone())).await)
        })
    }
}
