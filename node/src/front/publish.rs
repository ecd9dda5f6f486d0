//! Messages for queues and topics: `CloudEvents` in the three modes of their HTTP binding (1.0.2), or any body (docs/adr/0016).

mod attributes;
mod binary;
mod destination;
mod json;
mod message;
mod mode;
mod page;
mod reply;
mod span;
mod structured;
mod wishes;

pub(super) use self::destination::Destination;
pub(crate) use self::reply::reply;

use std::net::IpAddr;
use std::time::Duration;

use coracle_proto::status::Code;
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use tracing::{Instrument as _, Span};

use self::mode::Mode;
use self::wishes::Wishes;
use super::Inner;
use super::answer::Served;
use super::intake::Bounds;
use super::later::told;
use super::problem::with_status;
use super::replay::Replay;
use super::serve::unless_unheard;
use crate::call::{Body, CallError};
use crate::{clock, hops};

/// What is published is kept within this, or refused.
const KEEP_MAX: Duration = Duration::from_secs(10);
/// A body is here within this.
pub(super) const READ_MAX: Duration = Duration::from_secs(30);
const ALLOWED: &str = "GET, HEAD, POST";

impl Inner {
    /// Has messages kept, and says so; or says how that is done.
    pub(super) async fn publish(
        &self,
        to: &Destination,
        head: &Parts,
        body: &Replay,
        caller: IpAddr,
    ) -> Served {
        match head.method {
            Method::POST => {}
            Method::GET | Method::HEAD => return Served::page(page::usage(to)),
            _ => return Served::page(not_allowed(&head.method)),
        }
        let _place = match self.place(caller) {
            Ok(place) => place,
            Err(error) => return self.refuse(&error),
        };
        let span = span::send(to, &head.headers);
        match self.accept(to, head, (body, caller), &span).instrument(span.clone()).await {
            Ok(response) => Served::page(response),
            Err(error) => {
                coracle_proto::trace::failed(&span, &error.refusal);
                self.refuse(&error)
            }
        }
    }

    /// All of it is looked at before any of it is published.
    async fn accept(
        &self,
        to: &Destination,
        head: &Parts,
        (body, caller): (&Replay, IpAddr),
        span: &Span,
    ) -> Result<Response<Body>, CallError> {
        hops::check(&head.headers)?;
        let (mode, wishes) = (Mode::of(&head.headers)?, Wishes::new(&head.headers)?);
        wishes.check(mode)?;
        let bounds = Bounds { what: mode.body(), bytes_max: mode.bytes_max(), limit: READ_MAX };
        let taken = self.take_in(body, caller, bounds).await?;
        let events =
            mode.events(&head.headers, &taken.data, || wishes.own(to, &head.headers, &taken.data))?;
        let messages = message::messages(events, &wishes, &head.headers, span)?;
        let ids: Vec<String> = messages.iter().map(message::id).collect();
        let deadline = clock::now() + KEEP_MAX;
        let published = self.stores.publish(&to.namespace, &to.name, messages, deadline).await;
        let published = published.map_err(|refusal| unless_unheard(&self.view.load(), told(refusal)))?;
        Ok(page::accepted(&ids, &published))
    }
}

fn not_allowed(method: &Method) -> Response<Body> {
    let error = CallError::new(Code::BadRequest, format!("{method} is not possible here, only {ALLOWED}"));
    let mut response = with_status(&error, StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    response
}

/// That an attribute is wrong.
fn wrong(attribute: &str, why: &str) -> CallError {
    let end = attribute.floor_char_boundary(attribute.len().min(80));
    let shown = attribute.get(..end).unwrap_or_default();
    CallError::new(Code::BadRequest, format!("attribute '{shown}' {why}; nothing was published"))
}
