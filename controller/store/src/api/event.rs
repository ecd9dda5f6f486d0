//! What is published, as it comes from whoever publishes: a `CloudEvent` (1.0.2) whose attributes are checked here, by the name of the field.

use std::collections::BTreeMap;

use coracle_proto::codec::InField as _;
use coracle_proto::pb::{self, PublishMessage};
use coracle_proto::status::{Code, Refusal};

use super::wire;
use crate::model::{Place, Publish};

/// Bytes of an attribute's name. The specification asks for no more than 20.
const NAME_BYTES_MAX: usize = 64;
/// They have fields of their own, or are none.
const RESERVED: [&str; 4] = ["id", "source", "specversion", "data"];
/// The type of what says nothing of itself.
const TYPE: &str = "dev.coracle.queue.message";
/// By whose value messages are told apart that are delivered one after the other (an extension of `CloudEvents`).
const PARTITION: &str = "partitionkey";
/// Calls in the chain that led to it.
const HOPS: &str = "hops";

/// A message for a queue or a topic. What is too large the model refuses.
///
/// # Errors
/// `invalid-argument` with the field.
pub(super) fn publish(to: Place, message: PublishMessage) -> Result<Publish, Refusal> {
    let PublishMessage { invocation, body, group, delay_ms, fingerprint } = message;
    let invocation = wire::invocation(&invocation)?;
    let pb::EventBody { kind, source, id, mut attributes, http, data } = body.in_field("body")?;
    if !kind.is_empty() {
        return Err(wrong("body.kind", "is set: what fires says whatever it is published to"));
    }
    if http.is_some() {
        return Err(wrong("body.http", "is set: a message is no request"));
    }
    for (field, text) in [("body.source", &source), ("body.id", &id), ("group", &group)] {
        check_text(field, text)?;
    }
    for (name, value) in &attributes {
        check(name, value)?;
    }
    attributes.entry("type".to_owned()).or_insert_with(|| TYPE.to_owned());
    let group = grouped(group, &mut attributes);
    let usual = || format!("//{}/queue/{}", to.namespace, to.name);
    Ok(Publish {
        source: if source.is_empty() { usual() } else { source },
        // Its invocation's is that of no other message: nothing is remembered of it.
        id: if id == invocation.to_string() { String::new() } else { id },
        queue: to,
        group,
        attributes,
        delay_ms,
        data,
        invocation,
        kind,
        http: None,
        fingerprint,
        also: String::new(),
    })
}

fn check(name: &str, value: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        let end = name.floor_char_boundary(NAME_BYTES_MAX);
        let shown = name.get(..end).unwrap_or_default().escape_debug();
        let why = format!("has the name '{shown}', which is not 1 to {NAME_BYTES_MAX} of a-z and 0-9");
        return Err(wrong("body.attributes", &why));
    }
    let field = format!("body.attributes.{name}");
    if RESERVED.contains(&name) {
        return Err(wrong(&field, "has the name of what is no attribute here"));
    }
    check_text(&field, value)?;
    match name {
        "type" if value.is_empty() => Err(wrong(&field, "is empty")),
        HOPS if value.parse::<u64>().is_err() => {
            Err(wrong(&field, "is no number, and says how many calls led to the event"))
        }
        _ => Ok(()),
    }
}

fn check_text(field: &str, text: &str) -> Result<(), Refusal> {
    if text.contains(char::is_control) { Err(wrong(field, "has a control character")) } else { Ok(()) }
}

/// Where only one of the two says of which group it is, the other one says it too.
fn grouped(group: String, attributes: &mut BTreeMap<String, String>) -> String {
    if group.is_empty() {
        return attributes.get(PARTITION).cloned().unwrap_or_default();
    }
    attributes.entry(PARTITION.to_owned()).or_insert_with(|| group.clone());
    group
}

fn wrong(field: &str, why: &str) -> Refusal {
    Refusal::new(Code::InvalidArgument, format!("field '{field}' {why}"))
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::InvocationId;

    use super::*;

    const OWN: InvocationId = InvocationId::new(7);

    fn message(attributes: &[(&str, &str)]) -> PublishMessage {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let body = pb::EventBody { attributes: attributes.collect(), ..pb::EventBody::default() };
        PublishMessage { invocation: OWN.to_wire(), body: Some(body), ..PublishMessage::default() }
    }

    fn with(change: impl FnOnce(&mut PublishMessage, &mut pb::EventBody)) -> Result<Publish, Refusal> {
        let mut message = message(&[]);
        let mut body = message.body.take().unwrap();
        change(&mut message, &mut body);
        publish(Place::parse("shop", "q").unwrap(), PublishMessage { body: Some(body), ..message })
    }

    fn made(attributes: &[(&str, &str)]) -> Result<Publish, Refusal> {
        publish(Place::parse("shop", "q").unwrap(), message(attributes))
    }

    #[test]
    fn what_says_nothing_of_itself_is_as_usual() {
        let usual = with(|_, body| body.id = OWN.to_string()).unwrap();
        assert_eq!((&usual.source[..], &usual.id[..]), ("//shop/queue/q", ""));
        assert_eq!(usual.attributes, [("type".to_owned(), TYPE.to_owned())].into());
        let own = with(|_, body| (body.source, body.id) = ("/s".into(), "1".into())).unwrap();
        assert_eq!((&own.source[..], &own.id[..]), ("/s", "1"));
    }

    #[test]
    fn a_group_is_the_key_of_its_partition() {
        assert_eq!(made(&[("partitionkey", "k")]).unwrap().group, "k");
        let grouped = with(|message, _| message.group = "g".into()).unwrap();
        assert_eq!((&grouped.group[..], &grouped.attributes["partitionkey"][..]), ("g", "g"));
    }

    #[test]
    fn what_is_wrong_is_refused_by_its_field() {
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for (name, value, field) in [
            ("", "", "'body.attributes'"),
            ("comExample", "", "'body.attributes'"),
            ("ce-x", "", "'body.attributes'"),
            (&long, "", "'body.attributes'"),
            ("id", "1", "'body.attributes.id'"),
            ("source", "1", "'body.attributes.source'"),
            ("specversion", "1.0", "'body.attributes.specversion'"),
            ("data", "x", "'body.attributes.data'"),
            ("type", "", "'body.attributes.type'"),
            ("x", "a\nb", "'body.attributes.x'"),
            ("hops", "many", "'body.attributes.hops'"),
        ] {
            let refusal = made(&[(name, value)]).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidArgument);
            assert!(refusal.message.contains(field), "{refusal}");
        }
        let others = [
            (with(|_, body| body.kind = "async".into()), "'body.kind'"),
            (with(|_, body| body.http = Some(pb::EventHttp::default())), "'body.http'"),
            (with(|_, body| body.source = "a\u{9f}".into()), "'body.source'"),
            (with(|_, body| body.id = "a\tb".into()), "'body.id'"),
            (with(|message, _| message.group = "a\0".into()), "'group'"),
        ];
        for (refused, field) in others {
            let refusal = refused.unwrap_err();
            assert!(refusal.message.contains(field), "{refusal}");
        }
    }
}
