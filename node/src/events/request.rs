//! What a guest is to see of a message.

use bytes::Bytes;
use coracle_proto::attr;
use coracle_proto::id::InvocationId;
use coracle_proto::trace::{TRACEPARENT, TRACESTATE, write_headers};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full};
use sha2::{Digest as _, Sha256};
use tracing::Span;

use super::json;
use crate::call::{Body, Receipt, Trigger, is_idempotent};
use crate::cloudevent::{PREFIX, encode};
use crate::dispatch::{Invocation, Payload};
use crate::hops;
use crate::stores::{Delivery, Event, EventHead};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A body that is all here.
#[derive(Debug)]
struct Whole(Bytes);

impl Payload for Whole {
    fn next(&self) -> Option<Body> {
        if self.0.is_empty() {
            return Some(Body::default());
        }
        Some(Body::new(Full::from(self.0.clone()).map_err(|never| match never {})))
    }

    fn is_whole(&self) -> bool {
        true
    }
}

/// The message as a call: the request's head as it was accepted, and what the guest may need to tell attempts apart.
/// Whoever has the `receipt` is told what it took.
pub(super) fn invocation(delivery: &Delivery, span: &Span, receipt: Receipt) -> Invocation {
    let Delivery { ticket, attempt, function, invocation, event, how } = delivery;
    let mut head = head(delivery);
    // The queue's attempts are the repetition: within one a call moves only as a synchronous one would.
    let repeatable = is_idempotent(&head.method) || head.headers.contains_key(IDEMPOTENCY_KEY);
    let headers = &mut head.headers;
    headers.insert(HeaderName::from_static(attr::HEADER_ATTEMPT), HeaderValue::from(*attempt));
    headers.insert(HeaderName::from_static(attr::HEADER_FENCE), HeaderValue::from(ticket.fence.sequence));
    put(headers, HeaderName::from_static(attr::HEADER_QUEUE), &ticket.queue);
    if !headers.contains_key(IDEMPOTENCY_KEY) {
        put(headers, IDEMPOTENCY_KEY, &own_key(*invocation));
    }
    traces(headers, event);
    if !span.is_disabled() {
        write_headers(span, headers);
    }
    let route = event.head.as_ref().map(|head| head.route.clone()).unwrap_or_default();
    Invocation {
        id: *invocation,
        function: function.clone(),
        trigger: Trigger::Queue { kind: event.kind.clone(), route },
        head,
        body: Box::new(Whole(body(delivery, how.structured))),
        repeatable,
        receipt,
    }
}

/// Messages of one queue as one call, which goes on with the trace of the first of them and with the longest chain of calls. What else
/// headers tell of one message stands in its event. None: there are no messages.
pub(super) fn batch(deliveries: &[&Delivery], span: &Span, receipt: Receipt) -> Option<Invocation> {
    let first = *deliveries.first()?;
    let mut head = Request::new(()).into_parts().0;
    (head.method, head.uri) = (Method::POST, first.how.uri.clone());
    head.headers = described(json::BATCH);
    let longest = deliveries.iter().map(|delivery| hops_of(&delivery.event)).max().unwrap_or_default();
    chain(&mut head.headers, longest);
    traces(&mut head.headers, &first.event);
    if !span.is_disabled() {
        write_headers(span, &mut head.headers);
    }
    Some(Invocation {
        id: first.invocation,
        function: first.function.clone(),
        trigger: Trigger::Queue { kind: first.event.kind.clone(), route: String::new() },
        head,
        body: Box::new(Whole(json::many(deliveries.iter().copied()))),
        repeatable: false,
        receipt,
    })
}

/// What is in the body.
fn body(delivery: &Delivery, structured: bool) -> Bytes {
    match &delivery.event.head {
        None if structured => json::one(delivery),
        None | Some(_) => delivery.event.data.clone(),
    }
}

/// Of a request whose body says all.
fn described(kind: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(http::header::HOST, HeaderValue::from_static("localhost"));
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers
}

/// Calls in the chain that led to an event.
pub(super) fn hops_of(event: &Event) -> usize {
    event.attributes.get(hops::ATTRIBUTE).and_then(|hops| hops.parse().ok()).unwrap_or(0)
}

fn chain(headers: &mut HeaderMap, hops: usize) {
    if let Some(chain) = hops::after(hops) {
        headers.insert(hops::CDN_LOOP, chain);
    }
}

/// The key of an invocation whose caller gave none, the same in each attempt. Functions pass it on, and whoever knows an
/// invocation's id may read its result: so it does not tell the id. 128 bits of its SHA-256.
fn own_key(invocation: InvocationId) -> String {
    let hash = Sha256::digest(invocation.to_string());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The trace of whoever sent it, as headers.
pub(super) fn traces(headers: &mut HeaderMap, event: &Event) {
    for name in [TRACEPARENT, TRACESTATE] {
        if let Some(value) = event.attributes.get(name) {
            put(headers, HeaderName::from_static(name), value);
        }
    }
}

fn head(delivery: &Delivery) -> Parts {
    let mut parts = Request::new(()).into_parts().0;
    match &delivery.event.head {
        Some(EventHead { method, uri, headers, .. }) => {
            (parts.method, parts.uri, parts.headers) = (method.clone(), uri.clone(), headers.clone());
        }
        None => {
            (parts.method, parts.uri) = (Method::POST, delivery.how.uri.clone());
            parts.headers = match delivery.how.structured {
                true => described(json::STRUCTURED),
                false => cloud_event(delivery),
            };
            chain(&mut parts.headers, hops_of(&delivery.event));
        }
    }
    parts
}

/// An event that is no request, in the binary mode of `CloudEvents`' HTTP binding (1.0.2, 3.1).
fn cloud_event(delivery: &Delivery) -> HeaderMap {
    let Delivery { ticket, event, .. } = delivery;
    let mut headers = HeaderMap::new();
    headers.insert(http::header::HOST, HeaderValue::from_static("localhost"));
    // One of its own says more.
    attribute(&mut headers, "sequence", &ticket.message.to_string());
    for (name, value) in &event.attributes {
        // In a header large and small letters are one.
        match name.to_ascii_lowercase().as_str() {
            TRACEPARENT | TRACESTATE | "id" | "source" | "specversion" => {}
            "datacontenttype" => put(&mut headers, http::header::CONTENT_TYPE, value),
            name => attribute(&mut headers, name, value),
        }
    }
    // What it is told by is the event's own, whatever attributes it was given.
    attribute(&mut headers, "specversion", "1.0");
    attribute(&mut headers, "id", &event.id);
    attribute(&mut headers, "source", &event.source);
    headers
}

fn attribute(headers: &mut HeaderMap, name: &str, value: &str) {
    if let Ok(name) = HeaderName::try_from(format!("{PREFIX}{name}")) {
        put(headers, name, &encode(value));
    }
}

/// What no header can carry is left out.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use coracle_proto::id::{InvocationId, Namespace};

    use super::*;
    use crate::stores::{Fence, Manner, Ticket};

    pub(in crate::events) fn delivery(head: Option<EventHead>, attributes: &[(&str, &str)]) -> Delivery {
        Delivery {
            ticket: Ticket {
                namespace: Namespace::default(),
                queue: "function/f".to_owned(),
                message: 1,
                fence: Fence { term: 3, sequence: 40 },
            },
            attempt: 2,
            function: "f".parse().unwrap(),
            invocation: InvocationId::new(7),
            event: Event {
                kind: "async".to_owned(),
                source: "s".to_owned(),
                id: "i".to_owned(),
                attributes: attributes
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                head,
                data: Bytes::from_static(b"data"),
            },
            how: Manner::default(),
        }
    }

    fn request(method: Method, headers: &[(&str, &str)]) -> EventHead {
        let header =
            |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        EventHead {
            method,
            uri: "http://a.example/f/x?y".parse().unwrap(),
            headers: headers.iter().map(header).collect(),
            route: "/f".to_owned(),
        }
    }

    fn seen(delivery: &Delivery) -> Invocation {
        invocation(delivery, &Span::none(), Receipt::default())
    }

    #[test]
    fn a_request_is_seen_as_it_was_accepted_and_knows_its_attempt() {
        let sent =
            seen(&delivery(Some(request(Method::POST, &[("x-own", "1")])), &[("traceparent", "00-1-2-01")]));
        let header = |name: &str| sent.head.headers.get(name).map_or("", |value| value.to_str().unwrap());
        for (name, value) in [
            ("x-own", "1"),
            ("coracle-attempt", "2"),
            ("coracle-fence", "40"),
            ("coracle-queue", "function/f"),
            ("idempotency-key", "e5090df26d24944b1e29254e5540e676"),
            ("traceparent", "00-1-2-01"),
        ] {
            assert_eq!(header(name), value, "{name}");
        }
        assert_eq!(
            (sent.head.uri.to_string().as_str(), sent.trigger.route(), sent.trigger.kind()),
            ("http://a.example/f/x?y", "/f", "async")
        );
        assert!(!sent.repeatable, "its queue is what repeats it");
        assert_eq!(sent.id, InvocationId::new(7));
    }

    #[test]
    fn a_callers_own_key_stays_and_lets_a_call_move() {
        let keyed = seen(&delivery(Some(request(Method::POST, &[("idempotency-key", "mine")])), &[]));
        assert!(keyed.repeatable && keyed.head.headers["idempotency-key"] == "mine");
        assert!(seen(&delivery(Some(request(Method::PUT, &[])), &[])).repeatable);
    }

    #[test]
    fn what_is_no_request_comes_as_a_cloud_event() {
        let attributes = [
            ("type", "t"),
            ("time", "2018-04-05T17:31:00Z"),
            ("subject", "Euro \u{20ac} \"100%\"\n"),
            ("partitionkey", "k"),
            ("hops", "3"),
            ("datacontenttype", "text/plain"),
            ("traceparent", "00-1-2-01"),
            ("bad name", ""),
        ];
        let sent = seen(&delivery(None, &attributes));
        let header = |name: &str| sent.head.headers.get(name).map_or("", |value| value.to_str().unwrap());
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "i"),
            ("ce-source", "s"),
            ("ce-type", "t"),
            ("ce-time", "2018-04-05T17:31:00Z"),
            ("ce-subject", "Euro%20%E2%82%AC%20%22100%25%22%0A"),
            ("ce-partitionkey", "k"),
            ("ce-sequence", "1"),
            ("ce-hops", "3"),
            ("cdn-loop", "coracle, coracle, coracle"),
            ("content-type", "text/plain"),
            ("traceparent", "00-1-2-01"),
            ("ce-traceparent", ""),
        ] {
            assert_eq!(header(name), value, "{name}");
        }
        assert_eq!((sent.head.method, sent.head.uri.path()), (Method::POST, "/"));
        let taken =
            [("id", "x"), ("Source", "x"), ("specversion", "0.3"), ("SPECVERSION", "0.3"), ("ID", "")];
        let own = seen(&delivery(None, &taken)).head.headers;
        for (name, value) in [("ce-specversion", "1.0"), ("ce-id", "i"), ("ce-source", "s")] {
            let all: Vec<_> = own.get_all(name).iter().collect();
            assert_eq!(all, [value], "{name}");
        }
        let mut structured = delivery(None, &attributes);
        (structured.how.structured, structured.how.uri) = (true, "http://localhost/in?x".parse().unwrap());
        let sent = seen(&structured);
        assert_eq!((sent.head.uri.path(), sent.head.uri.query()), ("/in", Some("x")));
        assert_eq!(sent.head.headers["content-type"], "application/cloudevents+json");
        assert!(sent.head.headers.contains_key("cdn-loop") && sent.head.headers["coracle-attempt"] == "2");
        assert!(!sent.head.headers.keys().any(|name| name.as_str().starts_with("ce-")));
        let plain = seen(&delivery(None, &[("type", "t"), ("sequence", "99")])).head.headers;
        assert_eq!(plain["ce-sequence"], "99");
        assert!(!plain.contains_key("ce-hops") && !plain.contains_key("cdn-loop"));
    }
}
