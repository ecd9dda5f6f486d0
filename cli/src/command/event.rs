//! `coracle event send`: an event as the platform would make it, for a function.

use std::collections::BTreeMap;

use bytes::Bytes;
use clap::Subcommand;
use coracle_proto::id::{FunctionId, InvocationId};
use coracle_proto::pb;
use coracle_proto::trace::TRACEPARENT;

use super::event_types::catalogue::{self, EventType};
use super::events::Events;
use super::input::{self, Given, given};
use super::queue::message::{media_type, text, uri};
use super::{Session, invocation};
use crate::client::{Invocations, now_ms};
use crate::exit::Failure;
use crate::output::rfc3339;
use crate::output::view::AcceptedView;

/// What the platform's data are, and its examples.
const JSON: &str = "application/json";

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Have a function called for an event of a type that the platform makes ('coracle event-types').
    Send(Box<Sent>),
}

#[derive(Debug, clap::Args)]
struct Sent {
    /// The type, such as dev.coracle.kv.set.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// The function that gets it: NAME, or NAMESPACE/NAME.
    #[arg(long, value_name = "FUNCTION")]
    function: FunctionId,
    /// The data: text, @FILE, or - for stdin [default: the type's example].
    #[arg(short, long, value_name = "TEXT | @FILE | -", allow_hyphen_values = true)]
    data: Option<String>,
    /// What it is about [default: the type's example].
    #[arg(long, value_name = "TEXT", value_parser = text)]
    subject: Option<String>,
    /// Where it comes from [default: the type's example].
    #[arg(long, value_name = "URI", value_parser = uri)]
    source: Option<String>,
    /// Its id: the same one of the same source is taken once a day [default: as the platform makes it].
    #[arg(long, value_name = "ID", value_parser = text)]
    id: Option<String>,
    /// What the data are [default: application/json, where they are the platform's].
    #[arg(long, value_name = "TYPE", value_parser = media_type)]
    content_type: Option<String>,
    /// Wait for its end; what the function answered goes to stdout.
    #[arg(long)]
    wait: bool,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let Verb::Send(sent) = &args.verb;
    let kind = catalogue::find(&sent.kind)?;
    let data = input::message(sent.data.as_deref().map_or(Given::Text(kind.data), given)).await?;
    let mut events = Events::reach(session).await?;
    events.find_function(&sent.function).await?;
    let body = body(sent, kind, data, &events.trace(), now_ms());
    let reply = submit(&mut events, &sent.function, body).await?;
    let id = InvocationId::try_from(&reply.invocation[..])
        .map_err(|error| Failure::local("the store's answer", error))?;
    let again = if reply.repeated { "it was there already" } else { "it is accepted" };
    session.talk.say(&format!("{again}, invocation {id}"));
    if sent.wait {
        return invocation::ended(&mut events, id, invocation::WAIT, session).await;
    }
    session.talk.hint(&format!("what becomes of it: coracle invocation wait {id}"));
    session.output.one(&AcceptedView::new(&id.to_string(), &sent.function, &events.trace_id()))
}

/// The event, which is no request.
fn body(sent: &Sent, kind: &EventType, data: Bytes, trace: &str, now_ms: u64) -> pb::EventBody {
    let own_source = || kind.source.replace("NAMESPACE", sent.function.namespace.as_str());
    let is_json = kind.is_json || sent.data.is_none();
    let content_type = sent.content_type.as_deref().or_else(|| is_json.then_some(JSON));
    let (time, subject) = (rfc3339(now_ms), sent.subject.as_deref().unwrap_or(kind.subject));
    let told = [
        ("type", kind.name),
        ("time", &time),
        ("subject", subject),
        ("sequence", kind.sequence),
        ("datacontenttype", content_type.unwrap_or_default()),
        (TRACEPARENT, trace),
    ];
    let told = told.into_iter().filter(|(_, value)| !value.is_empty());
    let attributes: BTreeMap<_, _> = told.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    pb::EventBody {
        kind: kind.kind.to_owned(),
        source: sent.source.clone().unwrap_or_else(own_source),
        id: sent.id.clone().unwrap_or_else(|| kind.id.replace("TIME", &now_ms.to_string())),
        attributes,
        http: None,
        data,
    }
}

/// Has the function called for it, once however often it is sent.
async fn submit(
    events: &mut Events,
    function: &FunctionId,
    body: pb::EventBody,
) -> Result<pb::SubmitReply, Failure> {
    let invocation = InvocationId::new(rand::random()).to_wire();
    let submit = async |mut service: Invocations, place, request| {
        let request = pb::SubmitRequest {
            place: Some(place),
            request,
            function: function.name.to_string(),
            invocation: invocation.clone(),
            body: Some(body.clone()),
            ..pb::SubmitRequest::default()
        };
        service.submit(request).await
    };
    events.alter(&format!("event send to {function}"), &function.namespace, submit).await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::client::fake::{Fake, FakeStore, Kept, Script};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn sent(line: &str) -> Sent {
        let words = ["event", "send"].into_iter().chain(line.split(' '));
        let Verb::Send(send) = Line::try_parse_from(words).unwrap().args.verb;
        *send
    }

    fn body_of(line: &str) -> pb::EventBody {
        let sent = sent(line);
        let kind = catalogue::find(&sent.kind).unwrap();
        let data = sent.data.clone().unwrap_or_else(|| kind.data.to_owned());
        body(&sent, kind, data.into(), "00-1-2-01", 1_795_248_000_000)
    }

    fn attributes(body: &pb::EventBody) -> Vec<String> {
        let mut all: Vec<_> =
            body.attributes.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn an_event_is_as_the_platform_makes_it() {
        let set = body_of("dev.coracle.kv.set --function shop/thumb --id 7");
        assert_eq!(
            attributes(&set),
            [
                "datacontenttype: application/json",
                "sequence: 42",
                "subject: cat.jpg",
                "time: 2026-11-21T08:00:00.000Z",
                "traceparent: 00-1-2-01",
                "type: dev.coracle.kv.set",
            ]
        );
        let told = (set.kind.as_str(), set.source.as_str(), set.id.as_str());
        assert_eq!((told, set.http.is_none()), (("bucket", "//shop/bucket/images", "7"), true));
        let tick = body_of("dev.coracle.cron.tick --function f");
        assert_eq!((tick.kind.as_str(), tick.id.as_str()), ("schedule", "nightly@1795248000000"));
        let own = body_of("dev.coracle.queue.message --function f --data x --subject é%");
        assert_eq!((own.id.as_str(), own.attributes["subject"].as_str()), ("", "é%"));
        assert!(!own.attributes.contains_key("datacontenttype"), "nobody knows what it is");
    }

    #[tokio::test]
    async fn it_is_submitted_once_though_the_answer_was_lost() {
        let store = FakeStore::start(Kept { lost_answers: 1, ..Kept::default() }).await;
        let node = Fake::start(Script { stores: vec![store.address.clone()], ..Script::default() }).await;
        let mut events = Events::of(node.client().await).unwrap();
        let body = body_of("dev.coracle.kv.deleted --function f");
        let reply = submit(&mut events, &"f".parse().unwrap(), body.clone()).await.unwrap();
        let asked = store.with(|kept| kept.submitted.clone());
        assert_eq!((asked.len(), asked[0].request.clone()), (2, asked[1].request.clone()));
        assert_eq!((&asked[0].body, asked[0].function.as_str()), (&Some(body), "f"));
        assert_eq!(reply.invocation, asked[0].invocation);
    }

    #[test]
    fn a_type_that_nobody_makes_is_refused() {
        let failure = catalogue::find("order.placed").unwrap_err();
        assert!(failure.message.contains("'order.placed' is no type"), "{failure}");
    }
}
