//! What is said to whoever publishes.

use coracle_proto::route::RESERVED_PREFIX;
use http::header::LOCATION;
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::Destination;
use crate::call::Body;
use crate::front::answer::set_invocation;
use crate::front::later::{answer, location};
use crate::front::problem::page;
use crate::stores::Published;

#[derive(Serialize)]
struct Accepted {
    messages: Vec<One>,
}

#[derive(Serialize)]
struct One {
    /// The event's.
    id: String,
    /// None: it went to a topic, where each copy has one of its own.
    invocation: Option<String>,
    repeated: bool,
    copies: u32,
}

/// What was published, as events with these ids.
pub(super) fn accepted(ids: &[String], published: &[Published]) -> Response<Body> {
    let one = |(id, it): (&String, &Published)| One {
        id: id.clone(),
        invocation: it.invocation.map(|invocation| invocation.to_string()),
        repeated: it.repeated,
        copies: it.copies,
    };
    let messages = ids.iter().zip(published).map(one).collect();
    // Strings and numbers always have a JSON form.
    let json = serde_json::to_string(&Accepted { messages }).unwrap_or_default();
    let mut response = answer(StatusCode::ACCEPTED, json);
    if let [Published { invocation: Some(invocation), .. }] = published {
        let headers = response.headers_mut();
        set_invocation(headers, *invocation);
        if let Ok(location) = HeaderValue::try_from(location(*invocation)) {
            headers.insert(LOCATION, location);
        }
    }
    response
}

/// How something is published.
pub(super) fn usage(to: &Destination) -> Response<Body> {
    let text = format!(
        "POST publishes to '{to}', a queue or a topic:\n\n  \
         curl -i http://HOST{RESERVED_PREFIX}/publish/{to} --data-binary @FILE\n\n\
         The body is the message. With headers 'ce-specversion', 'ce-id', 'ce-source' and 'ce-type' it is the data of a\n\
         CloudEvent; as 'application/cloudevents+json' it is one, as 'application/cloudevents-batch+json' an array of them.\n\
         'coracle-delay: 10s', 'coracle-group: KEY' and 'idempotency-key: KEY' say more (docs/guide.md, Queues and topics).\n"
    );
    page(StatusCode::OK, "text/plain; charset=utf-8", text)
}
