//! From an event to the message that is kept of it.

use std::collections::BTreeMap;
use std::time::Duration;

use coracle_proto::id::InvocationId;
use coracle_proto::status::Code;
use coracle_proto::trace::{TRACEPARENT, TRACESTATE};
use http::HeaderMap;
use tracing::Span;

use super::attributes::Event;
use super::wishes::Wishes;
use super::wrong;
use crate::call::CallError;
use crate::front::later;
use crate::hops;
use crate::stores::{
    self, ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, Message, PUBLISHED_BYTES_MAX, TEXT_BYTES_MAX,
};

/// By whose value messages are told apart that are delivered one after the other (an extension of `CloudEvents`).
const PARTITION: &str = "partitionkey";

/// The messages of a request with these headers, in the trace of a span.
pub(super) fn messages(
    events: Vec<Event>,
    wishes: &Wishes,
    headers: &HeaderMap,
    span: &Span,
) -> Result<Vec<Message>, CallError> {
    let onward = Onward { traces: later::traces(headers, span), hops: hops::count(headers) };
    let messages = events.into_iter().map(|event| message(event, wishes, &onward));
    let messages: Vec<Message> = messages.collect::<Result<_, _>>()?;
    let bytes: usize = messages.iter().map(weight).sum();
    if bytes > PUBLISHED_BYTES_MAX {
        let said = format!(
            "the messages have {bytes} bytes of data and attributes, and at most {PUBLISHED_BYTES_MAX} are published at once; \
             nothing was published"
        );
        return Err(CallError::new(Code::RequestTooLarge, said));
    }
    Ok(messages)
}

/// Of which chain of calls they are.
struct Onward {
    traces: BTreeMap<String, String>,
    hops: usize,
}

fn message(event: Event, wishes: &Wishes, onward: &Onward) -> Result<Message, CallError> {
    let Event { id, source, mut attributes, data, fingerprint } = event;
    let own = attributes.get(PARTITION).map(String::as_str).unwrap_or_default();
    let group = if wishes.group.is_empty() { own } else { &wishes.group }.to_owned();
    if group.len() > TEXT_BYTES_MAX {
        return Err(wrong(PARTITION, &format!("has {} bytes, and at most {TEXT_BYTES_MAX}", group.len())));
    }
    if !group.is_empty() {
        // The function is told the group that it was delivered in.
        attributes.insert(PARTITION.to_owned(), group.clone());
    }
    let told = attributes.get(hops::ATTRIBUTE).and_then(|hops| hops.parse::<usize>().ok()).unwrap_or(0);
    if onward.hops > told {
        attributes.insert(hops::ATTRIBUTE.to_owned(), onward.hops.to_string());
    }
    // An event that has a trace of its own stays in it, whoever brings it.
    if !attributes.contains_key(TRACEPARENT) {
        attributes.remove(TRACESTATE);
        attributes.extend(onward.traces.clone());
    }
    check(&mut attributes)?;
    let event = stores::Event { kind: String::new(), source, id, attributes, head: None, data };
    let (invocation, delay): (_, Duration) = (InvocationId::new(rand::random()), wishes.delay);
    Ok(Message { invocation, event, group, delay, fingerprint })
}

/// The id that its event has: where it was given none that of its invocation.
pub(super) fn id(message: &Message) -> String {
    if message.event.id.is_empty() { message.invocation.to_string() } else { message.event.id.clone() }
}

/// A trace goes on without what its vendors say, where that is too much.
fn check(attributes: &mut BTreeMap<String, String>) -> Result<(), CallError> {
    if bytes(attributes) > ATTRIBUTES_BYTES_MAX || attributes.len() > ATTRIBUTES_MAX {
        attributes.remove(TRACESTATE);
    }
    let (count, bytes) = (attributes.len(), bytes(attributes));
    if count <= ATTRIBUTES_MAX && bytes <= ATTRIBUTES_BYTES_MAX {
        return Ok(());
    }
    let said = format!(
        "an event has at most {ATTRIBUTES_MAX} attributes of {ATTRIBUTES_BYTES_MAX} bytes together, and this one has {count} \
         of {bytes}, its trace among them; nothing was published"
    );
    Err(CallError::new(Code::BadRequest, said))
}

fn bytes(attributes: &BTreeMap<String, String>) -> usize {
    attributes.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum()
}

fn weight(message: &Message) -> usize {
    let Message { event, group, .. } = message;
    [event.id.len(), event.source.len(), group.len(), event.data.len(), bytes(&event.attributes)].iter().sum()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn event(attributes: &[(&str, &str)], bytes: usize) -> Event {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let data = Bytes::from(vec![0; bytes]);
        let (source, fingerprint) = ("/s".to_owned(), Bytes::new());
        Event { id: String::new(), source, attributes: attributes.collect(), data, fingerprint }
    }

    fn made(events: Vec<Event>, headers: &[(&'static str, &'static str)]) -> Result<Vec<Message>, CallError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        messages(events, &Wishes::new(&map).unwrap(), &map, &Span::none())
    }

    fn attributes(message: &Message) -> Vec<(&str, &str)> {
        message.event.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn a_group_is_what_the_request_or_else_the_event_says() {
        let keyed = || vec![event(&[(PARTITION, "own")], 0), event(&[], 0)];
        let groups = |headers: &[_]| {
            let made = made(keyed(), headers).unwrap();
            made.into_iter()
                .map(|it| (it.group, it.event.attributes.get(PARTITION).cloned()))
                .collect::<Vec<_>>()
        };
        let (own, all) = (Some("own".to_owned()), Some("all".to_owned()));
        assert_eq!(groups(&[]), [("own".to_owned(), own), (String::new(), None)]);
        let both = [("all".to_owned(), all.clone()), ("all".to_owned(), all)];
        assert_eq!(groups(&[("coracle-group", "all")]), both, "the event's own is replaced");
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let error = made(vec![event(&[(PARTITION, &long)], 0)], &[]).unwrap_err();
        assert!(error.to_string().contains("'partitionkey' has 257 bytes"), "{error}");
    }

    #[test]
    fn a_chain_of_calls_goes_on() {
        let headers = [
            ("cdn-loop", "coracle, other"),
            ("cdn-loop", "coracle"),
            ("traceparent", "00-1-2-01"),
            ("tracestate", "a=b"),
        ];
        let made = made(
            vec![
                event(&[], 0),
                event(&[("hops", "7"), ("traceparent", "00-3-4-01")], 0),
                event(&[("hops", "1"), ("tracestate", "c=d")], 0),
            ],
            &headers,
        )
        .unwrap();
        assert_eq!(
            attributes(&made[0]),
            [("hops", "2"), ("traceparent", "00-1-2-01"), ("tracestate", "a=b")]
        );
        assert_eq!(attributes(&made[1]), [("hops", "7"), ("traceparent", "00-3-4-01")]);
        assert_eq!(
            attributes(&made[2]),
            [("hops", "2"), ("traceparent", "00-1-2-01"), ("tracestate", "a=b")]
        );
        assert_ne!(made[0].invocation, made[1].invocation);
    }

    #[test]
    fn attributes_and_messages_have_bounds() {
        let value = "v".repeat(ATTRIBUTES_BYTES_MAX - 1);
        made(vec![event(&[("x", &value)], 0)], &[]).unwrap();
        let error = made(vec![event(&[("x", &value)], 0)], &[("traceparent", "00-1-2-01")]).unwrap_err();
        assert!(error.code() == Code::BadRequest && error.to_string().contains("4096 bytes"), "{error}");
        let less = "v".repeat(ATTRIBUTES_BYTES_MAX - 30);
        let traced =
            made(vec![event(&[("x", &less)], 0)], &[("traceparent", "00-1-2-01"), ("tracestate", "a=b")]);
        assert_eq!(traced.unwrap()[0].event.attributes.len(), 2, "without its vendors' words");
        let names: Vec<String> = (0..=ATTRIBUTES_MAX).map(|number| format!("x{number}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        made(vec![event(&many[1..], 0)], &[]).unwrap();
        assert_eq!(made(vec![event(&many, 0)], &[]).unwrap_err().code(), Code::BadRequest);

        let full = PUBLISHED_BYTES_MAX / 8 - 2;
        made(vec![event(&[], full); 8], &[]).unwrap();
        let error = made(vec![event(&[], full + 1); 8], &[]).unwrap_err();
        assert_eq!(error.code(), Code::RequestTooLarge);
    }
}
