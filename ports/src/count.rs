//! Counts the requests of a gRPC server's connections, so that those which are being answered keep their places.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tower_layer::Layer;

use crate::incoming::Info;
use crate::usage::Asking;

/// The layer, for a server over [`crate::incoming`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Count;

/// A service whose requests count until their answers have been sent or dropped.
#[derive(Debug, Clone)]
pub struct Counted<S>(S);

impl<S> Layer<S> for Count {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted(inner)
    }
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let info = request.extensions_mut().remove::<Info>();
        let asking = info.as_ref().map(|info| info.usage.begin());
        if let Some(info) = info {
            request.extensions_mut().insert(info.tcp);
        }
        let answer = self.0.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Body::new(Answer { body, _asking: asking }))) })
    }
}

struct Answer {
    body: Body,
    _asking: Option<Asking>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
