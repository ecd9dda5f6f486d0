//! What others send to webhooks: passed on as it came to who knows the secret, and kept before it is answered (docs/adr/0019).

mod hook;
mod page;
mod span;

pub(super) use self::hook::Hook;

use std::net::IpAddr;
use std::time::Duration;

use coracle_proto::id::InvocationId;
use coracle_proto::status::Code;
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use tracing::{Instrument as _, Span};

use super::Inner;
use super::answer::Served;
use super::intake::Bounds;
use super::later::{told, traces};
use super::problem::with_status;
use super::replay::Replay;
use super::serve::unless_unheard;
use crate::call::{Body, CallError};
use crate::stores::{BODY_BYTES_MAX, Heard, Hooked};
use crate::{clock, hops};

/// What is sent is kept within this, or refused: senders wait for 10 seconds, and some for less.
const KEEP_MAX: Duration = Duration::from_secs(8);
/// A body is here within this.
const READ_MAX: Duration = Duration::from_secs(30);
const ALLOWED: &str = "GET, HEAD, POST";

impl Inner {
    /// Has it kept, if it is signed right, and says so; or says how a sender is told of the webhook.
    pub(super) async fn webhook(&self, to: &Hook, head: &Parts, body: &Replay, caller: IpAddr) -> Served {
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
        match self.pass_on(to, head, (body, caller), &span).instrument(span.clone()).await {
            Ok(heard) => Served::page(page::heard(heard)),
            Err(error) => {
                coracle_proto::trace::failed(&span, &error.refusal);
                self.refuse(&error)
            }
        }
    }

    async fn pass_on(
        &self,
        to: &Hook,
        head: &Parts,
        (body, caller): (&Replay, IpAddr),
        span: &Span,
    ) -> Result<Heard, CallError> {
        hops::check(&head.headers)?;
        let bounds = Bounds { what: "the body of a webhook", bytes_max: BODY_BYTES_MAX, limit: READ_MAX };
        let taken = self.take_in(body, caller, bounds).await?;
        let hooked = Hooked {
            invocation: InvocationId::new(rand::random()),
            headers: head.headers.clone(),
            body: taken.data.clone(),
            trace: traces(&head.headers, span),
            hops: hops::so_far(&head.headers),
        };
        let heard = self.stores.hear(&to.namespace, &to.name, hooked, clock::now() + KEEP_MAX).await;
        heard.map_err(|refusal| unless_unheard(&self.view.load(), told(refusal)))
    }
}

fn not_allowed(method: &Method) -> Response<Body> {
    let error = CallError::new(Code::BadRequest, format!("{method} is not possible here, only {ALLOWED}"));
    let mut response = with_status(&error, StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(ALLOWED));
    response
}
