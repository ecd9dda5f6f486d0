//! `coracle dlq`: dead letters, which nobody tries again unless a person says so.

pub(super) mod moves;

use clap::Subcommand;
use coracle_proto::id::{InvocationId, Namespace};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use self::moves::Way;
use super::Session;
use super::events::Events;
use super::queue::all_queues;
use super::queue::name::{QueueId, Which};
use crate::client::Queues;
use crate::exit::Failure;
use crate::output::view::{LetterView, QueueView};

/// Dead letters of one answer.
const PAGE_MAX: u32 = 1_000;
/// Dead letters of one list.
const LIST_MAX: i64 = 100_000;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List queues with what they hold, or the dead letters of one, the oldest first.
    List(List),
    /// Show a dead letter with what it was asked.
    Show(Show),
    /// Give dead letters all their attempts again.
    Redrive(Letters),
    /// Take dead letters away.
    Purge(Letters),
}

#[derive(Debug, clap::Args)]
struct List {
    /// List the dead letters of this one: a function's or a queue's name, [NAMESPACE/]NAME.
    #[arg(value_name = "QUEUE")]
    which: Option<Which>,
    /// List the dead letters of this queue, whose name is as this list shows it.
    #[arg(long, value_name = "QUEUE", conflicts_with = "which")]
    queue: Option<String>,
    /// Queues of this namespace [default: default].
    #[arg(long, conflicts_with = "which")]
    namespace: Option<Namespace>,
    /// So many dead letters at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=LIST_MAX))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The invocation's id; with --message a function's or a queue's name, [NAMESPACE/]NAME.
    #[arg(value_name = "ID | QUEUE")]
    what: String,
    /// The number of the message in the queue.
    #[arg(long, value_name = "N")]
    message: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct Letters {
    /// Of which: a function's or a queue's name, [NAMESPACE/]NAME.
    #[arg(value_name = "QUEUE")]
    which: Which,
    /// These ones: ids of invocations.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<InvocationId>,
    /// All that it has.
    #[arg(long)]
    all: bool,
}

/// A dead letter, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Invocation(InvocationId),
    Message(Which, u64),
}

impl Show {
    fn named(&self) -> Result<Named, Failure> {
        let text = &self.what;
        match self.message {
            Some(number) => match text.parse() {
                Ok(which) => Ok(Named::Message(which, number)),
                Err(error) => Err(Failure::usage(format!("'{text}': {error}"))),
            },
            None => text.parse().map(Named::Invocation).map_err(|_| {
                let sentence = "is no id of 32 hexadecimal digits; of a queue --message N names one";
                Failure::usage(format!("'{text}' {sentence} ('coracle dlq list QUEUE' shows them)"))
            }),
        }
    }
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::List(args) => list(args, session).await,
        Verb::Show(args) => {
            let named = args.named()?;
            let found = letter(&mut Events::reach(session).await?, named).await?;
            session.output.one(&LetterView::from(found))
        }
        Verb::Redrive(letters) => moves::run(letters, Way::Redrive, session).await,
        Verb::Purge(letters) => moves::run(letters, Way::Purge, session).await,
    }
}

async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let namespace = args.namespace.clone().unwrap_or_default();
    let mut events = Events::reach(session).await?;
    let id = match (&args.which, &args.queue) {
        (Some(which), _) => which.resolve(&mut events, "dlq list").await?,
        (None, Some(queue)) => QueueId { namespace, queue: queue.clone() },
        (None, None) => return queues(&mut events, &namespace, session).await,
    };
    session.output.list(&letters(&mut events, &id.namespace, &id.queue, args.limit).await?)
}

async fn queues(events: &mut Events, namespace: &Namespace, session: &Session<'_>) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for queue in all_queues(events, "dlq list", namespace, "").await? {
        let oldest = match queue.dead {
            0 => None,
            _ => page(events, namespace, &asked(&queue.queue, 0, 1)).await?.letters.pop(),
        };
        let oldest = oldest.and_then(|letter| letter.record).map(|record| record.ended_ms);
        rows.push(QueueView::new(namespace.as_str(), queue, oldest));
    }
    session.output.list(&rows)
}

fn asked(queue: &str, from: u64, limit: u32) -> pb::DeadLettersRequest {
    pb::DeadLettersRequest { place: None, queue: queue.to_owned(), from, limit, bodies: false }
}

async fn page(
    events: &mut Events,
    namespace: &Namespace,
    request: &pb::DeadLettersRequest,
) -> Result<pb::DeadLettersReply, Failure> {
    let ask = async |mut service: Queues, place| {
        service.dead_letters(pb::DeadLettersRequest { place: Some(place), ..request.clone() }).await
    };
    events.queues("dlq", namespace, ask).await
}

/// The first so many of a queue.
async fn letters(
    events: &mut Events,
    namespace: &Namespace,
    queue: &str,
    limit: u32,
) -> Result<Vec<LetterView>, Failure> {
    let (mut rows, mut from) = (Vec::new(), 0);
    loop {
        let left = limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let page = page(events, namespace, &asked(queue, from, left.min(PAGE_MAX))).await?;
        rows.extend(page.letters.into_iter().take(left as usize).map(LetterView::from));
        if page.next == 0 || rows.len() >= limit as usize {
            return Ok(rows);
        }
        from = page.next;
    }
}

/// With what it was asked.
async fn letter(events: &mut Events, named: Named) -> Result<pb::DeadLetter, Failure> {
    let (namespace, queue, message, what) = match named {
        Named::Message(which, number) => {
            let what = format!("message {number} of '{which}'");
            let id = which.resolve(events, "dlq show").await?;
            (id.namespace, id.queue, number, what)
        }
        Named::Invocation(id) => {
            let record = events.find(id).await?.record;
            let namespace = moves::namespace_of(&record)?;
            (namespace, record.queue, record.message, format!("invocation {id}"))
        }
    };
    let request = pb::DeadLettersRequest { bodies: true, ..asked(&queue, message, 1) };
    let found = page(events, &namespace, &request).await?.letters.pop();
    // The first from that number on may be a later one.
    let is_it = |letter: &pb::DeadLetter| letter.record.as_ref().is_some_and(|it| it.message == message);
    let missing = || Refusal::new(Code::InvocationNotFound, format!("{what} is no dead letter")).into();
    found.filter(is_it).ok_or_else(missing)
}

#[cfg(test)]
mod tests;
