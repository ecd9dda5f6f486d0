//! `coracle queue publish`: one message, or each line one.

use std::path::Path;

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId};
use coracle_proto::pb;

use super::lines;
use super::message::{Common, Flags, text};
use crate::client::{Queues, now_ms};
use crate::command::Session;
use crate::command::events::Events;
use crate::command::input::{self, Given, given};
use crate::exit::Failure;
use crate::output::view::PublishedView;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A queue or a topic: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    to: FunctionId,
    /// The data: text, @FILE, or - for stdin.
    #[arg(short, long, value_name = "TEXT | @FILE | -", allow_hyphen_values = true)]
    data: Option<String>,
    /// The event's id: the same one of the same source is taken once a day [default: one of its own].
    #[arg(long, value_name = "ID", value_parser = text, conflicts_with = "lines")]
    id: Option<String>,
    /// Each line of stdin, or of the @FILE of --data, is a message.
    #[arg(long)]
    lines: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match (args.lines, args.data.as_deref().map(given)) {
        (false, data) => {
            let data = input::message(data.unwrap_or(Given::Text(""))).await?;
            one(args, data, session).await
        }
        (true, Some(Given::Text(_))) => {
            Err(Failure::usage("--data: with --lines it is @FILE, or - for stdin, which it is unless told"))
        }
        (true, Some(Given::File(file))) => lines::run(&args.to, &args.flags, file, session).await,
        (true, None) => lines::run(&args.to, &args.flags, Path::new("-"), session).await,
    }
}

async fn one(args: &Args, data: Bytes, session: &Session<'_>) -> Result<(), Failure> {
    let to = &args.to;
    args.flags.check()?;
    let mut events = Events::reach(session).await?;
    let common = Common { to, trace: &events.trace(), now_ms: now_ms() };
    let message = args.flags.message(common, args.id.as_deref(), data);
    let published = publish(&mut events, to, message).await?;
    let id = InvocationId::try_from(&published.invocation[..]).ok();
    let sentence = match (published.repeated, published.message, published.copies) {
        (true, _, _) => format!("{to} had it already"),
        (false, 0, 0) => format!("nobody has subscribed to {to}: it went to nobody"),
        (false, 0, 1) => format!("published to {to}, for 1 subscriber"),
        (false, 0, copies) => format!("published to {to}, for {copies} subscribers"),
        (false, _, _) => format!("published to {to}"),
    };
    session.talk.say(session.talk.done(&sentence));
    if let Some(id) = id.filter(|_| published.message > 0) {
        session.talk.hint(&format!("what becomes of it: coracle invocation wait {id}"));
    }
    session.output.one(&PublishedView::one(to, &published))
}

pub(super) async fn publish(
    events: &mut Events,
    to: &FunctionId,
    message: pb::PublishMessage,
) -> Result<pb::Published, Failure> {
    let send = async |mut service: Queues, place, request| {
        let (place, to, messages) = (Some(place), to.name.to_string(), vec![message.clone()]);
        service.publish(pb::PublishRequest { place, request, to, messages }).await
    };
    let reply = events.alter(&format!("publish to {to}"), &to.namespace, send).await?;
    let strange = || Failure::local("the store's answer", "it does not say what became of the message");
    reply.published.into_iter().next().ok_or_else(strange)
}
