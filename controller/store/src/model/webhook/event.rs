//! What came to a webhook, as the `CloudEvent` (1.0.2) that its function gets.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::id::InvocationId;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::super::limits::TEXT_BYTES_MAX;
use super::super::moment;
use super::super::name::{NameError, Place};
use super::super::op::Publish;
use super::super::record::Form;
use super::verify::{Arrived, Signed};

/// What fires, as the records of invocations tell it.
const KIND: &str = "webhook";
/// The type of the event.
const TYPE: &str = "dev.coracle.webhook.received";
/// Bytes of a trace's state that go on with it, as its standard asks for at least (W3C Trace Context, 3.3.1.5).
const TRACESTATE_BYTES_MAX: usize = 512;

/// What was sent to a webhook and is signed right.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// To which one.
    pub webhook: &'a Place,
    /// How it is signed.
    pub form: Form,
    /// What its signature says.
    pub signed: &'a Signed,
    /// As it came.
    pub arrived: Arrived<'a>,
    /// The group's time, Unix milliseconds.
    pub now_ms: u64,
}

impl Sent<'_> {
    /// The message for the webhook's queue. What its sender calls it by is taken once within a day.
    ///
    /// # Errors
    /// When the webhook's name is longer than that of a queue may be.
    pub fn publish(
        self,
        invocation: InvocationId,
        trace: BTreeMap<String, String>,
        data: Bytes,
    ) -> Result<Publish, NameError> {
        let json: Option<Value> = serde_json::from_slice(self.arrived.body).ok();
        let text = |name: &str| json.as_ref()?.get(name)?.as_str().map(str::to_owned);
        // Of an event that it calls back for, what it is.
        let slacks =
            json.as_ref().and_then(|json| json.get("event")?.get("type")?.as_str().map(str::to_owned));
        Ok(Publish {
            queue: Place::of_webhook(self.webhook)?,
            source: source(self.webhook),
            id: short(&self.id(&text)),
            group: String::new(),
            attributes: self.attributes(&text, slacks, trace),
            delay_ms: 0,
            data,
            invocation,
            kind: KIND.to_owned(),
            http: None,
            fingerprint: Bytes::new(),
            // GitHub signs no id and no time: with another id the same body would be another request.
            also: if self.form == Form::Github { self.signed.digest.clone() } else { String::new() },
        })
    }

    fn id(&self, text: &impl Fn(&str) -> Option<String>) -> String {
        let named = match self.form {
            Form::Github | Form::Standard => self.signed.id.clone(),
            Form::Stripe => text("id"),
            Form::Slack => text("event_id"),
        };
        named.filter(|id| !id.is_empty()).unwrap_or_else(|| self.signed.digest.clone())
    }

    fn attributes(
        &self,
        text: &impl Fn(&str) -> Option<String>,
        slacks: Option<String>,
        trace: BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let header = |name| self.arrived.one(name).ok().flatten().map(str::to_owned);
        let subject = match self.form {
            Form::Github => header("X-GitHub-Event"),
            Form::Stripe | Form::Standard => text("type"),
            Form::Slack => slacks.or_else(|| text("type")),
        };
        let mut attributes = BTreeMap::from([
            ("type".to_owned(), TYPE.to_owned()),
            ("time".to_owned(), moment::rfc3339(self.now_ms)),
        ]);
        // What cannot stand in an attribute is left out: it is only what others call it.
        let told = [("subject", subject), ("datacontenttype", header("Content-Type"))];
        for (name, value) in told {
            if let Some(value) = value.filter(|it| is_attribute(it)) {
                attributes.insert(name.to_owned(), value);
            }
        }
        for (name, value) in trace {
            let fits = match &name[..] {
                "traceparent" => is_attribute(&value),
                "tracestate" => value.len() <= TRACESTATE_BYTES_MAX && !value.contains(char::is_control),
                _ => false,
            };
            if fits {
                attributes.insert(name, value);
            }
        }
        attributes
    }
}

/// Slack asks whether somebody is there: what it wants to hear. None: it asks no such thing.
#[must_use]
pub fn challenge(form: Form, body: &[u8]) -> Option<Bytes> {
    if form != Form::Slack {
        return None;
    }
    let json: Value = serde_json::from_slice(body).ok()?;
    let asks = json.get("type").and_then(Value::as_str) == Some("url_verification");
    asks.then(|| json.get("challenge")?.as_str().map(|text| Bytes::copy_from_slice(text.as_bytes())))
        .flatten()
}

/// What names a webhook in its events.
pub(super) fn source(webhook: &Place) -> String {
    format!("//{}/webhook/{}", webhook.namespace, webhook.name)
}

fn is_attribute(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control)
}

/// An id that no key can have is told by its SHA-256.
fn short(id: &str) -> String {
    if is_attribute(id) {
        return id.to_owned();
    }
    Sha256::digest(id).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(form: Form, id: Option<&str>, headers: &[(&str, &str)], body: &str) -> Publish {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect();
        let signed = Signed { id: id.map(str::to_owned), digest: "5e".to_owned() };
        let (webhook, body) = (Place::parse("shop", "w").unwrap(), Bytes::copy_from_slice(body.as_bytes()));
        let arrived = Arrived { headers: &headers, body: &body };
        let sent = Sent { webhook: &webhook, form, signed: &signed, arrived, now_ms: 0 };
        let trace = [("traceparent", "00-1-2-01"), ("tracestate", "a=b"), ("other", "x")];
        let trace = trace.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        sent.publish(InvocationId::new(7), trace, body.clone()).unwrap()
    }

    #[test]
    fn an_event_says_what_its_sender_calls_it() {
        let headers = [("x-github-event", "push"), ("content-type", "application/json")];
        let it = sent(Form::Github, Some("72d3162e"), &headers, "{\"type\":\"not this\"}");
        assert_eq!((it.queue, &it.kind[..]), (Place::parse("shop", "webhook/w").unwrap(), "webhook"));
        assert_eq!((&it.source[..], &it.id[..]), ("//shop/webhook/w", "72d3162e"));
        let all: Vec<_> = it.attributes.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let expected = [
            ("datacontenttype", "application/json"),
            ("subject", "push"),
            ("time", "1970-01-01T00:00:00Z"),
            ("traceparent", "00-1-2-01"),
            ("tracestate", "a=b"),
            ("type", "dev.coracle.webhook.received"),
        ];
        assert_eq!(all, expected);
        assert_eq!(&it.data[..], b"{\"type\":\"not this\"}");
    }

    #[test]
    fn ids_are_where_each_form_has_them() {
        let id = |form, header, body| sent(form, header, &[], body).id;
        let json = "{\"id\":\"evt_1\",\"event_id\":\"Ev1\",\"type\":\"t\"}";
        assert_eq!(id(Form::Stripe, None, json), "evt_1");
        assert_eq!(id(Form::Slack, None, json), "Ev1");
        assert_eq!(id(Form::Standard, Some("msg_1"), json), "msg_1");
        for form in [Form::Stripe, Form::Slack] {
            for none in ["", "no json", "[]", "{\"id\":1,\"event_id\":\"\"}", "\u{0}"] {
                assert_eq!(id(form, None, none), "5e", "what is signed");
            }
        }
        assert_eq!(id(Form::Github, None, json), "5e");
        let also = Form::ALL.map(|form| sent(form, Some("1"), &[], json).also);
        assert_eq!(also, ["5e", "", "", ""], "GitHub's id is not signed");
        assert_eq!(id(Form::Github, Some(&"x".repeat(257)), json).len(), 64);
        assert_eq!(sent(Form::Stripe, None, &[], json).attributes["subject"], "t");
        let called = "{\"type\":\"event_callback\",\"event\":{\"type\":\"app_mention\"}}";
        assert_eq!(sent(Form::Slack, None, &[], called).attributes["subject"], "app_mention");
        assert_eq!(sent(Form::Slack, None, &[], json).attributes["subject"], "t");
        let long = format!("{{\"type\":\"{}\"}}", "t".repeat(257));
        assert!(!sent(Form::Slack, None, &[], &long).attributes.contains_key("subject"));
    }

    #[test]
    fn only_slack_is_answered_with_its_challenge() {
        let asked = b"{\"type\":\"url_verification\",\"challenge\":\"3eZbr\"}";
        assert_eq!(challenge(Form::Slack, asked).as_deref(), Some(&b"3eZbr"[..]));
        for form in [Form::Github, Form::Stripe, Form::Standard] {
            assert_eq!(challenge(form, asked), None);
        }
        for other in [
            &b"{\"type\":\"event_callback\",\"challenge\":\"x\"}"[..],
            b"{\"type\":\"url_verification\"}",
            b"\xff",
            b"",
        ] {
            assert_eq!(challenge(Form::Slack, other), None);
        }
    }
}
