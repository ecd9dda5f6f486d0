//! `coracle queue`: what is kept for functions that take it from there.

mod lines;
pub(super) mod message;
pub(super) mod name;
mod peek;
mod publish;

use std::cell::Cell;

use clap::Subcommand;
use coracle_proto::id::{FunctionId, FunctionName, Namespace};
use coracle_proto::pb;

use self::name::QueueId;
use super::Session;
use super::dlq::moves::{self, Way};
use super::events::Events;
use super::granted::{self, Kind};
use super::replies;
use super::settings::{self, Flags, spec};
use crate::client::Queues;
use crate::exit::Failure;
use crate::output::view::{Changed, MovedView, QueueDetailView};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a queue, or change one: what is not said stays.
    Create(Box<Create>),
    /// List the queues of a namespace, those that the platform made among them.
    List(List),
    /// Show a queue with what it was told and what it holds.
    Get(Named),
    /// Delete a queue.
    Delete(Delete),
    /// Publish a message to a queue or a topic, or a line each.
    Publish(Box<publish::Args>),
    /// List what waits, the oldest first; nothing of it is taken.
    Peek(peek::Args),
    /// Take away what waits.
    Purge(Named),
    /// Give nothing out until it is resumed.
    Pause(Named),
    /// Let it go on.
    Resume(Named),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// The queue: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "QUEUE")]
    queue: FunctionId,
    /// The function of the same namespace that takes its messages; in a new queue they wait without one.
    #[arg(long, value_name = "NAME")]
    function: Option<FunctionName>,
    /// No function takes them any more: they wait.
    #[arg(long, conflicts_with = "function")]
    no_function: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Those of this namespace [default: default].
    #[arg(long)]
    namespace: Option<Namespace>,
    /// Only those whose messages this function takes: NAME, or NAMESPACE/NAME.
    #[arg(long, value_name = "FUNCTION", conflicts_with = "namespace")]
    function: Option<FunctionId>,
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The queue: [NAMESPACE/]NAME, or a name of the platform's, such as function/NAME.
    #[arg(value_name = "QUEUE")]
    queue: QueueId,
}

#[derive(Debug, clap::Args)]
struct Delete {
    #[command(flatten)]
    named: Named,
    /// Also while it has messages, somebody uses it, or functions may publish to it.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Create(args) => create(args, session).await,
        Verb::List(args) => list(args, session).await,
        Verb::Get(named) => {
            let id = &named.queue;
            let found = name::get(&mut Events::reach(session).await?, "queue get", id).await?;
            session.output.one(&QueueDetailView::new(id.namespace.as_str(), found))
        }
        Verb::Delete(args) => delete(args, session).await,
        Verb::Publish(args) => publish::run(args, session).await,
        Verb::Peek(args) => peek::run(args, session).await,
        Verb::Purge(named) => purge(&named.queue, session).await,
        Verb::Pause(named) => pause(&named.queue, true, session).await,
        Verb::Resume(named) => pause(&named.queue, false, session).await,
    }
}

async fn create(args: &Create, session: &Session<'_>) -> Result<(), Failure> {
    let mut events = Events::reach(session).await?;
    let (made, sentence) = create_or_change(args, &mut events).await?;
    session.talk.say(session.talk.done(&sentence));
    session.output.one(&QueueDetailView::new(args.queue.namespace.as_str(), made))
}

/// Answers with the queue, and with what was done.
async fn create_or_change(args: &Create, events: &mut Events) -> Result<(pb::QueueDetail, String), Failure> {
    let (id, settings) = (&args.queue, args.flags.settings()?);
    if let Some(name) = &args.function {
        let function = FunctionId { namespace: id.namespace.clone(), name: name.clone() };
        events.find_function(&function).await?;
    }
    replies::check(&settings, &id.namespace, events).await?;
    let own = QueueId { namespace: id.namespace.clone(), queue: id.name.to_string() };
    let before = settings::present(events, &own).await?;
    let told = before.as_ref().and_then(|it| it.spec.as_ref()).map(settings::told);
    let wanted = settings.over(&told.clone().unwrap_or_default());
    let function = match (&args.function, &before) {
        (Some(name), _) => name.to_string(),
        (None, Some(before)) if !args.no_function => before.function.clone(),
        (None, _) => String::new(),
    };
    let changes = before.as_ref().map(|before| {
        let mut all = wanted.changes(&told.unwrap_or_default());
        if before.function != function {
            all.push(format!("{} instead of {}", taker(&function), taker(&before.function)));
        }
        all.join(", ")
    });
    let sentence = match &changes {
        None => format!("queue {id} is made, its messages go to {}", taker(&function)),
        Some(changes) if changes.is_empty() => format!("queue {id} is unchanged"),
        Some(changes) => format!("queue {id} is changed: {changes}"),
    };
    let made = match before {
        Some(before) if changes.is_some_and(|it| it.is_empty()) => before,
        Some(_) | None => put(events, id, &spec(&wanted, &function), false).await?.unwrap_or_default(),
    };
    Ok((made, sentence))
}

fn taker(function: &str) -> String {
    if function.is_empty() { "nobody".to_owned() } else { format!("function {function}") }
}

/// Makes it, or tells it anew; with `dry_run` only looks whether it could be, and may have none to show.
pub(super) async fn put(
    events: &mut Events,
    id: &FunctionId,
    spec: &pb::QueueSpec,
    dry_run: bool,
) -> Result<Option<pb::QueueDetail>, Failure> {
    let put = async |mut service: Queues, place, request| {
        let (place, queue, spec) = (Some(place), id.name.to_string(), Some(spec.clone()));
        service.put(pb::PutQueueRequest { place, request, queue, spec, dry_run }).await
    };
    Ok(events.alter(&format!("queue {id}"), &id.namespace, put).await?.queue)
}

async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let (namespace, function) = match &args.function {
        Some(function) => (function.namespace.clone(), function.name.as_str()),
        None => (args.namespace.clone().unwrap_or_default(), ""),
    };
    let mut events = Events::reach(session).await?;
    let found = all_queues(&mut events, "queue list", &namespace, function).await?;
    let view = |queue| QueueDetailView::new(namespace.as_str(), queue);
    session.output.list(&found.into_iter().map(view).collect::<Vec<_>>())
}

/// Those of a namespace, or those of it whose messages a function takes.
pub(super) async fn all_queues(
    events: &mut Events,
    what: &str,
    namespace: &Namespace,
    function: &str,
) -> Result<Vec<pb::QueueDetail>, Failure> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = async |mut service: Queues, place| {
            let (place, function, after) = (Some(place), function.to_owned(), after.clone());
            service.list(pb::ListQueuesRequest { place, function, after, limit: 0 }).await
        };
        let page = events.queues(what, namespace, page).await?;
        found.extend(page.queues);
        if page.after.is_empty() {
            return Ok(found);
        }
        after = page.after;
    }
}

async fn delete(args: &Delete, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.named.queue;
    let with = if args.force { " with all its messages" } else { "" };
    session.talk.confirm(&format!("Delete queue {id}{with}?"), session.shared.yes)?;
    let mut events = Events::reach(session).await?;
    // The platform's own have a slash in their names: nobody is granted them.
    if let (false, Ok(own)) = (args.force, FunctionId::parse(id.namespace.as_str(), &id.queue)) {
        granted::refuse(&mut events, &own, Kind::Queue).await?;
        replies::refuse(&mut events, &own).await?;
    }
    let purged = drop_queue(&mut events, id, args.force).await?;
    let lost = match purged {
        0 => String::new(),
        1 => ", with 1 message".to_owned(),
        many => format!(", with {many} messages"),
    };
    session.talk.say(session.talk.done(&format!("queue {id} is deleted{lost}")));
    session.output.one(&Changed::new(id, "deleted"))
}

/// Answers with how many messages it had.
pub(super) async fn drop_queue(events: &mut Events, id: &QueueId, force: bool) -> Result<u64, Failure> {
    let tried = Cell::new(false);
    let drop = async |mut service: Queues, place, request| {
        let (again, place, queue) = (tried.replace(true), Some(place), id.queue.clone());
        match service.delete(pb::DeleteQueueRequest { place, request, queue, force }).await {
            // A queue with many messages goes in steps, for longer than an answer is waited for: it was there a moment ago.
            Err(status) if again && status.code() == tonic::Code::NotFound => {
                Ok(tonic::Response::new(pb::DeleteQueueReply::default()))
            }
            answered => answered,
        }
    };
    Ok(events.alter(&format!("queue delete {id}"), &id.namespace, drop).await?.purged)
}

async fn purge(id: &QueueId, session: &Session<'_>) -> Result<(), Failure> {
    session.talk.confirm(&format!("Take away all that waits in queue {id}?"), session.shared.yes)?;
    let moved = moves::all(&mut Events::reach(session).await?, id, Way::Empty).await?;
    session.talk.say(session.talk.done(&Way::Empty.done(moved, &id.to_string())));
    session.output.one(&MovedView::new(id, moved, Way::Empty.outcome()))
}

async fn pause(id: &QueueId, paused: bool, session: &Session<'_>) -> Result<(), Failure> {
    let (what, outcome) = if paused { ("queue pause", "paused") } else { ("queue resume", "resumed") };
    let change = async |mut service: Queues, place, request| {
        let (place, queue) = (Some(place), id.queue.clone());
        service.pause(pb::PauseQueueRequest { place, request, queue, paused }).await
    };
    Events::reach(session).await?.alter(what, &id.namespace, change).await?;
    session.talk.say(session.talk.done(&format!("queue {id} is {outcome}")));
    session.output.one(&Changed::new(id, outcome))
}

#[cfg(test)]
mod tests;
