//! Dead letters that are run again, or taken away.

use std::cell::Cell;

use coracle_proto::id::{FunctionId, InvocationId, Namespace};
use coracle_proto::pb::{self, InvocationState};
use coracle_proto::status::{Code, Refusal};

use super::Letters;
use crate::client::Queues;
use crate::command::Session;
use crate::command::events::{Events, queue_of};
use crate::exit::{Exit, Failure};
use crate::output::view::{MovedView, state_word};

/// What is to become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Redrive,
    Purge,
}

impl Way {
    fn verb(self) -> &'static str {
        match self {
            Self::Redrive => "dlq redrive",
            Self::Purge => "dlq purge",
        }
    }

    fn outcome(self) -> &'static str {
        match self {
            Self::Redrive => "redriven",
            Self::Purge => "purged",
        }
    }

    fn done(self, moved: u64, function: &FunctionId) -> String {
        let letters = if moved == 1 { "dead letter" } else { "dead letters" };
        match (self, moved) {
            (_, 0) => format!("{function} has no dead letters"),
            (Self::Redrive, 1) => format!("1 {letters} of {function} is run again"),
            (Self::Redrive, _) => format!("{moved} {letters} of {function} are run again"),
            (Self::Purge, 1) => format!("1 {letters} of {function} is gone"),
            (Self::Purge, _) => format!("{moved} {letters} of {function} are gone"),
        }
    }
}

/// How many a request moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moved {
    count: u64,
    /// What it has left for the next one.
    rest: Option<(u64, u64)>,
    /// It was sent more than once: what an attempt before did may have been lost.
    again: bool,
}

pub(super) async fn run(args: &Letters, way: Way, session: &Session<'_>) -> Result<(), Failure> {
    let function = &args.function;
    if way == Way::Purge {
        let which = if args.all {
            "all dead letters".to_owned()
        } else {
            format!("{} of the dead letters", args.ids.len())
        };
        session.talk.confirm(&format!("Take away {which} of '{function}'?"), session.shared.yes)?;
    }
    let mut events = Events::reach(session).await?;
    let moved = match args.all {
        true => all(&mut events, function, way).await?,
        false => {
            let mut moved = 0;
            for id in &args.ids {
                moved += one(&mut events, function, *id, way).await?;
            }
            moved
        }
    };
    session.talk.say(session.talk.done(&way.done(moved, function)));
    session.output.one(&MovedView::new(function, moved, way.outcome()))
}

/// All that were there when it began, each once: those that die again meanwhile are not run for ever.
pub(super) async fn all(events: &mut Events, function: &FunctionId, way: Way) -> Result<u64, Failure> {
    let (queue, name) = (queue_of(function), function.name.to_string());
    let list = async |mut service: Queues, place| {
        let function = name.clone();
        service.list(pb::ListQueuesRequest { place: Some(place), function, ..Default::default() }).await
    };
    let queues = events.queues(way.verb(), &function.namespace, list).await?.queues;
    let found = queues.into_iter().find(|it| it.queue == queue);
    let none =
        || Refusal::new(Code::QueueNotFound, format!("'{function}' has no queue: it was never called so"));
    found.ok_or_else(none)?;
    let (mut moved, mut part) = (0, (0, 0));
    loop {
        let Moved { count, rest, .. } = range(events, function, part, way).await?;
        moved += count;
        match rest {
            Some(rest) => part = rest,
            None => return Ok(moved),
        }
    }
}

pub(super) async fn one(
    events: &mut Events,
    function: &FunctionId,
    id: InvocationId,
    way: Way,
) -> Result<u64, Failure> {
    let record = events.find(id).await?.record;
    if namespace_of(&record)? != function.namespace || record.queue != queue_of(function) {
        let whose = format!("{}/{}", record.namespace, record.function);
        return Err(Failure::usage(format!("invocation {id} is not of '{function}' but of '{whose}'")));
    }
    if record.state() != InvocationState::Dead {
        return Err(not_dead(id, record.state()));
    }
    let moved = range(events, function, (record.message, record.message.saturating_add(1)), way).await?;
    match moved {
        // It was dead a moment ago: the attempt whose answer was lost has done it.
        Moved { again: true, .. } => Ok(moved.count.max(1)),
        Moved { count: 0, again: false, .. } => {
            let state = events.find(id).await?.record.state();
            Err(not_dead(id, state))
        }
        Moved { count, again: false, .. } => Ok(count),
    }
}

fn not_dead(id: InvocationId, state: InvocationState) -> Failure {
    let sentence = format!("invocation {id} is no dead letter, it is {}", state_word(state));
    Failure::new(Exit::Conflict, sentence)
}

/// Messages of a range of numbers, or of (0, 0) all, as many as the store moves at once.
async fn range(
    events: &mut Events,
    function: &FunctionId,
    (from, to): (u64, u64),
    way: Way,
) -> Result<Moved, Failure> {
    let (queue, sent) = (queue_of(function), Cell::new(0_u32));
    let send = async |mut service: Queues, place| {
        sent.set(sent.get().saturating_add(1));
        let request =
            pb::MoveMessagesRequest { place: Some(place), queue: queue.clone(), from, to, waiting: false };
        match way {
            Way::Redrive => service.redrive(request).await,
            Way::Purge => service.purge(request).await,
        }
    };
    let reply = events.queues(way.verb(), &function.namespace, send).await?;
    let rest = (reply.next > 0).then_some((reply.next, reply.to));
    Ok(Moved { count: reply.moved, rest, again: sent.get() > 1 })
}

/// The namespace of a record: what stands there was let in once.
pub(super) fn namespace_of(record: &pb::InvocationRecord) -> Result<Namespace, Failure> {
    let namespace = record.namespace.parse();
    namespace
        .map_err(|error| Failure::local("the store's answer", format!("'{}': {error}", record.namespace)))
}
