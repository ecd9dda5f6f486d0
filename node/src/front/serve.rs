//! One request: what it is for, and its response.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use coracle_proto::id::{InvocationId, Revision};
use coracle_proto::record::{Kind, Version};
use coracle_proto::status::Code;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;

use super::activity::{self, Activity};
use super::answer::Served;
use super::blob::Address;
use super::gather::Gathering;
use super::headers::{authority, for_guest, host_name};
use super::later::{Asked, Preferences};
use super::line::Line;
use super::paced::{Paced, Patience};
use super::publish::Destination;
use super::replay::Replay;
use super::shares::{Share, Shares, Short};
use super::target::{Target, target};
use super::webhook::Hook;
use super::{Front, Inner, answer, content, page, problem};
use crate::call::{Body, CallError, EVENTS_ONLY, Receipt, Trigger, is_idempotent};
use crate::dispatch::Invocation;
use crate::view::View;

/// Where a request came from, and where its response goes.
pub(super) struct Arrival {
    pub(super) remote: SocketAddr,
    pub(super) activity: Arc<Activity>,
    pub(super) request: activity::Request,
    pub(super) line: Line,
}

impl Front {
    /// Answers a request. It always has an answer; dropping the future, or the answer's body, stops the guest.
    pub(super) async fn serve(&self, request: Request<Incoming>, arrival: Arrival) -> Response<Body> {
        let front: &Inner = &self.inner;
        let (parts, body) = request.into_parts();
        let method = parts.method.clone();
        let http2 = parts.version == http::Version::HTTP_2;
        let body = Replay::new(body, &arrival.activity, http2);
        let served = match front.prepare(parts, body.clone(), arrival.remote).await {
            Ok(Prepared::Call(invocation)) => front.call(&invocation, &body, arrival.remote.ip()).await,
            Ok(Prepared::Later(invocation)) => {
                Box::pin(front.later(*invocation, &body, arrival.remote.ip())).await
            }
            Ok(Prepared::Asked(asked, head)) => {
                Box::pin(front.asked(asked, &head, arrival.remote.ip())).await
            }
            Ok(Prepared::Publish(to, head)) => {
                Box::pin(front.publish(&to, &head, &body, arrival.remote.ip())).await
            }
            Ok(Prepared::Webhook(to, head)) => {
                Box::pin(front.webhook(&to, &head, &body, arrival.remote.ip())).await
            }
            Ok(Prepared::Blob(address, head)) => {
                Box::pin(front.blob(&address, &head, &body, arrival.remote.ip())).await
            }
            Ok(Prepared::Page(response)) => Served::page(response),
            Err(error) => front.refuse(&error),
        };
        let rest = front.options.write_timeout;
        let patience = Patience { piece: served.idle_max.unwrap_or(rest), rest };
        let (response, open) = served.open(arrival.request);
        content::settle(&method, response).map(|body| Paced::body(body, open, patience, arrival.line))
    }
}

enum Prepared {
    Call(Box<Invocation>),
    /// A call that is to be run later.
    Later(Box<Invocation>),
    /// What became of one.
    Asked(Asked, Box<Parts>),
    /// What is for a queue or a topic.
    Publish(Destination, Box<Parts>),
    /// What is for a webhook.
    Webhook(Hook, Box<Parts>),
    /// What blobs are asked for.
    Blob(Address, Box<Parts>),
    Page(Response<Body>),
}

impl Inner {
    async fn prepare(
        &self,
        mut parts: Parts,
        body: Replay,
        remote: SocketAddr,
    ) -> Result<Prepared, CallError> {
        let authority = authority(&parts)?;
        let (view, target) = self.find(&host_name(authority.as_ref()), parts.uri.path()).await;
        let (function, route, path) = match target? {
            Target::Function { function, route, path } => (function, route, path),
            Target::Welcome => return Ok(Prepared::Page(page::welcome(&view, self.node, &parts.headers))),
            Target::Health => return Ok(Prepared::Page(page::health())),
            Target::Invocation(asked) => return Ok(Prepared::Asked(asked, Box::new(parts))),
            Target::Publish(to) => return Ok(Prepared::Publish(to, Box::new(parts))),
            Target::Webhook(to) => return Ok(Prepared::Webhook(to, Box::new(parts))),
            Target::Blob(address) => return Ok(Prepared::Blob(address, Box::new(parts))),
        };
        for_guest(&mut parts, authority, path, remote)?;
        let repeatable = is_idempotent(&parts.method) || parts.headers.contains_key("idempotency-key");
        let (id, trigger) =
            (InvocationId::new(rand::random()), Trigger::Http { route, remote: Some(remote) });
        let body = Box::new(body);
        let (later, receipt) = (Preferences::new(&parts.headers).respond_async, Receipt::default());
        let invocation =
            Box::new(Invocation { id, function, trigger, head: parts, body, repeatable, receipt });
        Ok(if later { Prepared::Later(invocation) } else { Prepared::Call(invocation) })
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

    /// A place for an open call.
    pub(super) fn place(&self, caller: IpAddr) -> Result<Share, CallError> {
        self.open.take(caller, 1).map_err(|short| too_many(short, self.open.max()))
    }

    /// A place for one of so many who do something with blobs.
    pub(super) fn blob_place(
        &self,
        shares: &Arc<Shares>,
        caller: IpAddr,
        what: &str,
    ) -> Result<Share, CallError> {
        shares.take(caller, 1).map_err(|short| {
            let max = shares.max();
            let said = match short {
                Short::All => format!("{max} blobs are being {what} at this gateway, and no more can be"),
                Short::Caller(caller, its) => format!(
                    "{its} of the {max} blobs that may be {what} at this gateway are of '{caller}', and no caller has \
                     more than are free"
                ),
            };
            CallError::new(Code::Overloaded, said)
        })
    }

    pub(super) fn refuse(&self, error: &CallError) -> Served {
        self.metrics.refused(error.code());
        Served::page(problem::problem(error))
    }

    /// Runs an invocation, and makes its response.
    pub(super) async fn call(&self, invocation: &Invocation, body: &Replay, caller: IpAddr) -> Served {
        // What cannot be found is told by who sends the call.
        let version = self.dispatcher.version(&invocation.function, invocation.id).ok();
        if let Err(error) = version.as_deref().map_or(Ok(()), takes_requests) {
            return self.refuse(&error);
        }
        let place = match self.place(caller) {
            Ok(place) => place,
            Err(error) => return self.refuse(&error),
        };
        // Whoever waits for its caller's bytes here takes no place at a worker.
        if !body.is_empty()
            && let Some(version) = &version
            && let Err(error) = Box::pin(Gathering::new(self, body, caller, version).run(version.kind)).await
        {
            return self.refuse(&error);
        }
        drop(version);
        match self.dispatcher.dispatch(invocation).await {
            Ok(answered) => answer::success(answered, invocation.id, place),
            Err(error) => answer::failure(&error, invocation.id),
        }
    }
}

/// Refuses a request to what only events call.
pub(super) fn takes_requests(version: &Version) -> Result<(), CallError> {
    match version.kind {
        Kind::EventComponent => Err(CallError::new(Code::BadRequest, EVENTS_ONLY)),
        Kind::HttpComponent | Kind::CommandModule | Kind::CommandComponent => Ok(()),
    }
}

/// That there is no such thing can be said only by who has a view: one that a controller is bringing up to date, or
/// none at all, says nothing.
pub(super) fn unless_unheard(view: &View, error: CallError) -> CallError {
    let routing = &view.routing;
    let unheard = routing.stamp.revision == Revision::ZERO || (routing.following && !routing.told);
    match error.code() {
        Code::RouteNotFound | Code::FunctionNotFound | Code::NoStore if unheard => CallError::new(
            Code::NoView,
            "this gateway was just started and does not know the cluster's functions and stores yet",
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
