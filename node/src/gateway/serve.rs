//! One request: what it is for, and its response.

use std::net::SocketAddr;
use std::sync::Arc;

use coracle_proto::id::{InvocationId, Revision, VersionId, VersionNumber};
use coracle_proto::status::Code;
use http::{Request, Response};
use hyper::body::Incoming;
use tracing::Instrument as _;

use super::activity::{self, Activity};
use super::answer::Served;
use super::dispatch::Dispatch;
use super::gather::gather;
use super::headers::{authority, for_guest, host_name};
use super::line::Line;
use super::paced::{Paced, Patience};
use super::replay::Replay;
use super::shares::Short;
use super::target::{Target, target};
use super::{Gateway, Inner, answer, content, page, problem, span};
use crate::call::{Body, CallError};
use crate::view::View;

/// Where a request came from, and where its response goes.
pub(super) struct Caller {
    pub(super) remote: SocketAddr,
    pub(super) activity: Arc<Activity>,
    pub(super) request: activity::Request,
    pub(super) line: Line,
}

impl Gateway {
    /// Answers a request. It always has an answer; dropping the future, or the answer's body, stops the guest.
    pub(super) async fn serve(&self, request: Request<Incoming>, caller: Caller) -> Response<Body> {
        let gateway: &Inner = &self.inner;
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let body = Replay::new(body, &caller.activity);
        let served = match gateway.prepare(parts, body, caller.remote).await {
            Ok(Prepared::Call(mut dispatch)) => gateway.call(&mut dispatch).await,
            Ok(Prepared::Page(response)) => Served::page(response),
            Err(error) => gateway.refuse(&error),
        };
        let rest = gateway.options.write_timeout;
        let patience = Patience { piece: served.idle_max.unwrap_or(rest), rest };
        let (response, open) = served.open(caller.request);
        content::settle(&method, response).map(|body| Paced::body(body, open, patience, caller.line))
    }
}

enum Prepared<'a> {
    Call(Box<Dispatch<'a>>),
    Page(Response<Body>),
}

impl Inner {
    async fn prepare(
        &self,
        mut parts: http::request::Parts,
        body: Replay,
        remote: SocketAddr,
    ) -> Result<Prepared<'_>, CallError> {
        let authority = authority(&parts)?;
        let (view, target) = self.find(&host_name(authority.as_ref()), parts.uri.path()).await;
        let (function, route, path) = match target? {
            Target::Function { function, route, path } => (function, route, path),
            Target::Welcome => return Ok(Prepared::Page(page::welcome(&view, self.node, &parts.headers))),
            Target::Health => return Ok(Prepared::Page(page::health())),
        };
        for_guest(&mut parts, authority, path, remote)?;
        Ok(Prepared::Call(Box::new(Dispatch {
            gateway: self,
            view,
            function,
            invocation: InvocationId::new(rand::random()),
            route,
            remote,
            parts,
            body,
            movable: false,
            attempts: 0,
        })))
    }

    /// What a request is for, and the view that says so.
    async fn find(&self, host: &str, path: &str) -> (Arc<View>, Result<Target, CallError>) {
        let view = self.view.load();
        let found = target(&view, host, path);
        if view.routing.told || matches!(found, Ok(Target::Function { .. } | Target::Health)) {
            return (view, found);
        }
        drop(view);
        self.hear().await;
        let view = self.view.load();
        let found = target(&view, host, path).map_err(|error| unless_unheard(&view, error));
        (view, found)
    }

    /// Waits for a controller's first word since this process started, as long as one is likely.
    async fn hear(&self) {
        let Ok(_place) = self.waiting.try_acquire() else { return };
        let mut changes = self.view.subscribe();
        let heard = changes.wait_for(|_| self.view.load().routing.told);
        // Late or never: the view on disk has to do.
        let _ = tokio::time::timeout_at(self.news_by.into(), heard).await;
    }

    fn refuse(&self, error: &CallError) -> Served {
        self.metrics.refused(error.code());
        Served::page(problem::problem(error))
    }

    pub(super) async fn call(&self, dispatch: &mut Dispatch<'_>) -> Served {
        let invocation = dispatch.invocation;
        let place = match self.open.take(dispatch.remote.ip(), 1) {
            Ok(place) => place,
            Err(short) => return self.refuse(&too_many(short, self.open.max())),
        };
        // Whoever waits for its caller's bytes here takes no place at a worker.
        if !dispatch.body.is_empty()
            && let Err(error) = Box::pin(gather(dispatch)).await
        {
            return self.refuse(&error);
        }
        let span = span::invoke(&dispatch.parts, &dispatch.route, invocation);
        self.driver.call();
        let version = shown_version(dispatch);
        span::named(&span, &version);
        let running = self.metrics.begin(&version);
        match dispatch.run().instrument(span.clone()).await {
            Ok(answered) => {
                super::attempt::record(&span, &answered.place, &answered.answer);
                answer::success(&self.metrics, answered, invocation, (running, place), &span)
            }
            Err(error) => answer::failure(&self.metrics, &error, invocation, running, &span),
        }
    }
}

/// That there is no such thing can be said only by who has a view: one that a controller is bringing up to date, or
/// none at all, says nothing.
fn unless_unheard(view: &View, error: CallError) -> CallError {
    let routing = &view.routing;
    let unheard = routing.stamp.revision == Revision::ZERO || (routing.following && !routing.told);
    match error.code() {
        Code::RouteNotFound | Code::FunctionNotFound if unheard => CallError::new(
            Code::NoView,
            "this gateway was just started and does not know the cluster's functions yet",
        ),
        _ => error,
    }
}

fn too_many(short: Short, max: usize) -> CallError {
    let said = match short {
        Short::All => format!("{max} calls are open at this gateway"),
        Short::Caller(caller, its) => format!(
            "{its} of the {max} calls that may be open at this gateway are of '{caller}', and no caller has more than \
             are free"
        ),
    };
    CallError::new(Code::Overloaded, said)
}

/// The version that the call is counted under: the one that its first round chooses.
fn shown_version(dispatch: &Dispatch<'_>) -> VersionId {
    let known = dispatch.view.routing.content.functions().get(&dispatch.function);
    let number = known.map_or(VersionNumber::new(0), |function| dispatch.chosen(function));
    VersionId { function: dispatch.function.clone(), number }
}
