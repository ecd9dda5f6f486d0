//! A message as flags describe it: an event that is no request.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId};
use coracle_proto::pb;

use crate::output::rfc3339;

/// Of an event that says no other type.
const TYPE: &str = "dev.coracle.queue.message";
/// Bytes of a message: larger data lies in a bucket.
pub(super) const DATA_BYTES_MAX: usize = 64 << 10;
/// Attributes that have flags of their own, or that the platform says.
const OWN: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"];
/// Of an attribute's name, as gateways take it.
const NAME_BYTES_MAX: usize = 64;

/// What all messages of one command have in common.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "The message")]
pub(super) struct Flags {
    /// The type of the event.
    #[arg(long = "type", value_name = "TYPE", default_value = TYPE)]
    kind: String,
    /// What it is about.
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Where it comes from: a URI [default: //NAMESPACE/queue/NAME].
    #[arg(long, value_name = "URI")]
    source: Option<String>,
    /// What the data are, such as application/json.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Another attribute of the event; repeated.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// Messages of one group are delivered one after the other.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Deliver it so much later, such as 10s.
    #[arg(long, value_name = "DURATION", value_parser = crate::units::duration)]
    delay: Option<Duration>,
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("'{text}': expected NAME=VALUE"))?;
    let good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !good {
        return Err(format!("'{name}': an attribute's name has 1 to {NAME_BYTES_MAX} of a-z and 0-9"));
    }
    if OWN.contains(&name) {
        return Err(format!("'{name}' is said by a flag of its own, or by the platform"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

impl Flags {
    /// Whether messages are delivered in the order in which they are published.
    pub(super) fn has_group(&self) -> bool {
        self.group.is_some()
    }

    /// A message with these data. Without an id it has its invocation's: it is like no other.
    pub(super) fn message(
        &self,
        to: &FunctionId,
        id: Option<&str>,
        data: Bytes,
        now_ms: u64,
    ) -> pb::PublishMessage {
        let invocation = InvocationId::new(rand::random());
        let mut attributes: BTreeMap<_, _> = self.attributes.iter().cloned().collect();
        attributes.insert("type".to_owned(), self.kind.clone());
        attributes.insert("time".to_owned(), rfc3339(now_ms));
        let told = [("subject", &self.subject), ("datacontenttype", &self.content_type)];
        for (name, value) in told {
            attributes.extend(value.clone().map(|value| (name.to_owned(), value)));
        }
        let own = || format!("//{}/queue/{}", to.namespace, to.name);
        let body = pb::EventBody {
            kind: String::new(),
            source: self.source.clone().unwrap_or_else(own),
            id: id.map_or_else(|| invocation.to_string(), ToOwned::to_owned),
            attributes,
            http: None,
            data,
        };
        let delay_ms = self.delay.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        let group = self.group.clone().unwrap_or_default();
        let (invocation, fingerprint) = (invocation.to_wire(), Bytes::new());
        pb::PublishMessage { invocation, body: Some(body), group, delay_ms, fingerprint }
    }
}
