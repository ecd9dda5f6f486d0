//! `coracle queue publish`: one message, or each line one.

use std::path::Path;

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId};
use coracle_proto::pb;
use tokio::io::AsyncReadExt as _;

use super::lines;
use super::message::{DATA_BYTES_MAX, Flags};
use crate::client::{Queues, now_ms};
use crate::command::events::Events;
use crate::command::{Session, input};
use crate::exit::Failure;
use crate::output::view::PublishedView;
use crate::units;

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
    #[arg(long, value_name = "ID", conflicts_with = "lines")]
    id: Option<String>,
    /// Each line of stdin, or of the @FILE of --data, is a message.
    #[arg(long)]
    lines: bool,
    #[command(flatten)]
    flags: Flags,
}

/// From where data come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given<'a> {
    Text(&'a str),
    File(&'a Path),
}

fn given(data: &str) -> Given<'_> {
    match (data, data.strip_prefix('@')) {
        ("-", _) => Given::File(Path::new("-")),
        (_, Some(file)) => Given::File(Path::new(file)),
        (text, None) => Given::Text(text),
    }
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match (args.lines, args.data.as_deref().map(given)) {
        (false, data) => {
            let data = read(data.unwrap_or(Given::Text(""))).await?;
            one(args, data, session).await
        }
        (true, Some(Given::Text(_))) => {
            Err(Failure::usage("--data: with --lines it is @FILE, or - for stdin, which it is unless told"))
        }
        (true, Some(Given::File(file))) => lines::run(&args.to, &args.flags, file, session).await,
        (true, None) => lines::run(&args.to, &args.flags, Path::new("-"), session).await,
    }
}

async fn read(data: Given<'_>) -> Result<Bytes, Failure> {
    let (read, name) = match data {
        Given::Text(text) => (text.as_bytes().to_vec(), Path::new("--data")),
        Given::File(file) => {
            let failed = |error| Failure::usage(format!("--data: {}: {error}", file.display()));
            let opened = input::open(file).await.map_err(failed)?;
            let mut data = Vec::new();
            opened.take(DATA_BYTES_MAX as u64 + 1).read_to_end(&mut data).await.map_err(failed)?;
            (data, file)
        }
    };
    if read.len() > DATA_BYTES_MAX {
        let most = units::show_bytes(DATA_BYTES_MAX as u64);
        return Err(Failure::usage(format!("{}: a message has at most {most}", name.display())));
    }
    Ok(read.into())
}

async fn one(args: &Args, data: Bytes, session: &Session<'_>) -> Result<(), Failure> {
    let to = &args.to;
    let message = args.flags.message(to, args.id.as_deref(), data, now_ms());
    let mut events = Events::reach(session).await?;
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

async fn publish(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_a_text_a_file_or_stdin() {
        assert_eq!(given("a"), Given::Text("a"));
        assert_eq!(given("-1"), Given::Text("-1"));
        assert_eq!(given("@a.json"), Given::File(Path::new("a.json")));
        assert_eq!((given("-"), given("@-")), (Given::File(Path::new("-")), Given::File(Path::new("-"))));
    }

    #[tokio::test]
    async fn what_is_too_large_is_not_read_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![b'x'; DATA_BYTES_MAX + 1]).unwrap();
        let failure = read(Given::File(file.path())).await.unwrap_err();
        assert!(failure.message.contains("a message has at most 64 KiB"), "{failure}");
        std::fs::write(file.path(), vec![b'x'; DATA_BYTES_MAX]).unwrap();
        assert_eq!(read(Given::File(file.path())).await.unwrap().len(), DATA_BYTES_MAX);
    }
}
