//! A message as flags describe it: an event that is no request.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId};
use coracle_proto::pb;
use coracle_proto::trace::TRACEPARENT;

use crate::exit::Failure;
use crate::output::rfc3339;

/// Of an event that says no other type.
const TYPE: &str = "dev.coracle.queue.message";
/// By whose value messages are told apart that are delivered one after the other (an extension of `CloudEvents`).
const PARTITION: &str = "partitionkey";
/// Attributes that have flags of their own, or that the platform says.
const OWN: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"];
/// Of an attribute's name, as gateways take it.
const NAME_BYTES_MAX: usize = 64;

/// What all messages of one command have in common.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "The message")]
pub(super) struct Flags {
    /// The type of the event.
    #[arg(long = "type", value_name = "TYPE", default_value = TYPE, value_parser = text)]
    kind: String,
    /// What it is about.
    #[arg(long, value_name = "TEXT", value_parser = text)]
    subject: Option<String>,
    /// Where it comes from: a URI [default: //NAMESPACE/queue/NAME].
    #[arg(long, value_name = "URI", value_parser = uri)]
    source: Option<String>,
    /// What the data are, such as application/json.
    #[arg(long, value_name = "TYPE", value_parser = media_type)]
    content_type: Option<String>,
    /// Another attribute of the event; repeated.
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// Messages of one group are delivered one after the other; the attribute `partitionkey` says the same.
    #[arg(long, value_name = "GROUP", value_parser = text)]
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
    match value.contains(char::is_control) {
        true => Err(format!("'{name}' has a control character")),
        false => Ok((name.to_owned(), value.to_owned())),
    }
}

/// What is there, and no control character in it.
pub(in crate::command) fn text(text: &str) -> Result<String, String> {
    match (text.is_empty(), text.contains(char::is_control)) {
        (true, _) => Err("it is empty".to_owned()),
        (false, true) => Err("it has a control character".to_owned()),
        (false, false) => Ok(text.to_owned()),
    }
}

/// What an event may come from, as far as its characters go (RFC 3986).
pub(in crate::command) fn uri(given: &str) -> Result<String, String> {
    let alien = |it: char| !it.is_ascii_graphic() || "\"<>\\^`{|}".contains(it);
    match given.chars().find(|it| alien(*it)) {
        Some(alien) => Err(format!("no URI has {alien:?}")),
        None => text(given),
    }
}

/// What a header can carry.
pub(in crate::command) fn media_type(given: &str) -> Result<String, String> {
    if given.is_ascii() { text(given) } else { Err(format!("'{given}' is no media type")) }
}

/// What all messages of one command have in common beside its flags.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common<'a> {
    pub(super) to: &'a FunctionId,
    /// As a `traceparent`; empty: none.
    pub(super) trace: &'a str,
    pub(super) now_ms: u64,
}

impl Flags {
    /// What flags say together.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match (&self.group, self.partition()) {
            (Some(group), Some(key)) if group != key => Err(Failure::usage(format!(
                "--group {group}, --attribute {PARTITION}={key}: they are one thing"
            ))),
            _ => Ok(()),
        }
    }

    fn partition(&self) -> Option<&str> {
        let told = self.attributes.iter().rev().find(|(name, _)| name == PARTITION);
        told.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Of all messages; empty: of none.
    fn group(&self) -> &str {
        self.group.as_deref().or_else(|| self.partition()).unwrap_or_default()
    }

    /// Whether messages are delivered in the order in which they are published.
    pub(super) fn has_group(&self) -> bool {
        !self.group().is_empty()
    }

    /// A message with these data. One without an id is like no other.
    pub(super) fn message(&self, common: Common<'_>, id: Option<&str>, data: Bytes) -> pb::PublishMessage {
        let Common { to, trace, now_ms } = common;
        let invocation = InvocationId::new(rand::random());
        let mut attributes: BTreeMap<_, _> = self.attributes.iter().cloned().collect();
        attributes.insert("type".to_owned(), self.kind.clone());
        attributes.insert("time".to_owned(), rfc3339(now_ms));
        let group = self.group();
        let told = [
            ("subject", self.subject.as_deref()),
            ("datacontenttype", self.content_type.as_deref()),
            (PARTITION, Some(group).filter(|group| !group.is_empty())),
        ];
        for (name, value) in told {
            attributes.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        }
        // One that has a trace of its own stays in it.
        if !trace.is_empty() {
            attributes.entry(TRACEPARENT.to_owned()).or_insert_with(|| trace.to_owned());
        }
        let own = || format!("//{}/queue/{}", to.namespace, to.name);
        let body = pb::EventBody {
            kind: String::new(),
            source: self.source.clone().unwrap_or_else(own),
            id: id.unwrap_or_default().to_owned(),
            attributes,
            http: None,
            data,
        };
        let delay_ms = self.delay.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
        let (invocation, group) = (invocation.to_wire(), group.to_owned());
        let fingerprint = Bytes::new();
        pb::PublishMessage { invocation, body: Some(body), group, delay_ms, fingerprint }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(words: &[&str]) -> Result<Flags, String> {
        let line = Line::try_parse_from(["publish"].iter().chain(words));
        line.map(|line| line.flags).map_err(|error| error.to_string())
    }

    fn message(words: &[&str], id: Option<&str>) -> pb::PublishMessage {
        let to = "shop/jobs".parse().unwrap();
        let common = Common { to: &to, trace: "00-1-2-01", now_ms: 0 };
        flags(words).unwrap().message(common, id, "x".into())
    }

    #[test]
    fn a_message_has_the_id_that_was_given_and_the_trace_of_its_command() {
        let body = message(&[], None).body.unwrap();
        assert_eq!((body.id.as_str(), body.source.as_str()), ("", "//shop/queue/jobs"));
        assert_eq!(body.attributes["traceparent"], "00-1-2-01");
        let own = message(&["--attribute", "traceparent=00-3-4-01"], Some("7")).body.unwrap();
        assert_eq!((own.id.as_str(), own.attributes["traceparent"].as_str()), ("7", "00-3-4-01"));
    }

    #[test]
    fn a_group_and_its_attribute_are_one_thing() {
        for words in [["--group", "anna"], ["--attribute", "partitionkey=anna"]] {
            let made = message(&words, None);
            assert_eq!(made.group, "anna");
            assert_eq!(made.body.unwrap().attributes["partitionkey"], "anna");
            assert!(flags(&words).unwrap().has_group());
        }
        let two = |key| flags(&["--group", "anna", "--attribute", key]).unwrap().check();
        assert_eq!(two("partitionkey=anna"), Ok(()));
        assert!(two("partitionkey=bert").unwrap_err().message.contains("one thing"));
    }

    #[test]
    fn what_no_event_has_is_refused_by_its_flag() {
        for name in ["id", "source", "specversion", "data", "type", "subject", "time", "datacontenttype"] {
            let said = flags(&["--attribute", &format!("{name}=x")]).unwrap_err();
            assert!(said.contains(&format!("'{name}' is said by a flag of its own")), "{said}");
        }
        for (flag, value, why) in [
            ("--attribute", "region=a\nb", "control character"),
            ("--type", "", "empty"),
            ("--subject", "a\tb", "control character"),
            ("--group", "a\u{9f}", "control character"),
            ("--source", "a b", "no URI has ' '"),
            ("--source", "", "empty"),
            ("--content-type", "\u{e9}", "media type"),
        ] {
            let said = flags(&[flag, value]).unwrap_err();
            assert!(said.contains(flag) && said.contains(why), "{flag} {value:?}: {said}");
        }
    }
}
