//! `coracle dlq`: dead letters, which nobody tries again unless a person says so.

mod moves;

use clap::Subcommand;
use coracle_proto::id::{FunctionId, InvocationId, Namespace};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use self::moves::Way;
use super::Session;
use super::events::{Events, queue_of};
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
    /// List the dead letters of this function: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "FUNCTION")]
    function: Option<FunctionId>,
    /// List the dead letters of this queue.
    #[arg(long, value_name = "QUEUE", conflicts_with = "function")]
    queue: Option<String>,
    /// Queues of this namespace [default: default].
    #[arg(long, conflicts_with = "function")]
    namespace: Option<Namespace>,
    /// So many dead letters at most.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=LIST_MAX))]
    limit: u32,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// The invocation's id; with --message the function: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "ID | FUNCTION")]
    what: String,
    /// The number of the message in the function's queue.
    #[arg(long, value_name = "N")]
    message: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct Letters {
    /// Of which function: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "FUNCTION")]
    function: FunctionId,
    /// These ones: ids of invocations.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<InvocationId>,
    /// All that the function has.
    #[arg(long)]
    all: bool,
}

/// A dead letter, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Invocation(InvocationId),
    Message(FunctionId, u64),
}

impl Show {
    fn named(&self) -> Result<Named, Failure> {
        let text = &self.what;
        match self.message {
            Some(number) => match text.parse() {
                Ok(function) => Ok(Named::Message(function, number)),
                Err(error) => Err(Failure::usage(format!("'{text}': {error}"))),
            },
            None => text.parse().map(Named::Invocation).map_err(|_| {
                let sentence = "is no id of 32 hexadecimal digits; of a function --message N names one";
                Failure::usage(format!("'{text}' {sentence} ('coracle dlq list FUNCTION' shows them)"))
            }),
        }
    }
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::List(list) => match queue(list) {
            Some((namespace, queue)) => {
                let mut events = Events::reach(session).await?;
                session.output.list(&letters(&mut events, &namespace, &queue, list.limit).await?)
            }
            None => queues(&list.namespace.clone().unwrap_or_default(), session).await,
        },
        Verb::Show(args) => {
            let named = args.named()?;
            let found = letter(&mut Events::reach(session).await?, named).await?;
            session.output.one(&LetterView::from(found))
        }
        Verb::Redrive(letters) => moves::run(letters, Way::Redrive, session).await,
        Verb::Purge(letters) => moves::run(letters, Way::Purge, session).await,
    }
}

/// Whose dead letters are listed, where one queue is meant.
fn queue(args: &List) -> Option<(Namespace, String)> {
    if let Some(function) = &args.function {
        return Some((function.namespace.clone(), queue_of(function)));
    }
    Some((args.namespace.clone().unwrap_or_default(), args.queue.clone()?))
}

async fn queues(namespace: &Namespace, session: &Session<'_>) -> Result<(), Failure> {
    let mut events = Events::reach(session).await?;
    let list = async |mut service: Queues, place| {
        service.list(pb::ListQueuesRequest { place: Some(place), ..Default::default() }).await
    };
    let found = events.queues("dlq list", namespace, list).await?.queues;
    let mut rows = Vec::new();
    for queue in found {
        let oldest = match queue.dead {
            0 => None,
            _ => page(&mut events, namespace, &asked(&queue.queue, 0, 1)).await?.letters.pop(),
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
        Named::Message(function, number) => {
            let what = format!("message {number} of '{function}'");
            (function.namespace.clone(), queue_of(&function), number, what)
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
