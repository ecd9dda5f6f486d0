//! Dead letters that are run again, or taken away.

use std::cell::Cell;

use coracle_proto::id::{InvocationId, Namespace};
use coracle_proto::pb::{self, InvocationState};

use super::Letters;
use crate::client::Queues;
use crate::command::Session;
use crate::command::events::Events;
use crate::command::queue::name::{QueueId, Which};
use crate::exit::{Exit, Failure};
use crate::output::view::{MovedView, state_word};

/// What is to become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Way {
    Redrive,
    Purge,
    /// Of what waits instead of dead letters.
    Empty,
}

impl Way {
    fn verb(self) -> &'static str {
        match self {
            Self::Redrive => "dlq redrive",
            Self::Purge => "dlq purge",
            Self::Empty => "queue purge",
        }
    }

    pub(in crate::command) fn outcome(self) -> &'static str {
        match self {
            Self::Redrive => "redriven",
            Self::Purge | Self::Empty => "purged",
        }
    }

    pub(in crate::command) fn done(self, moved: u64, which: &str) -> String {
        let what = match (self, moved) {
            (Self::Redrive | Self::Purge, 1) => "dead letter",
            (Self::Redrive | Self::Purge, _) => "dead letters",
            (Self::Empty, 0) => "messages that wait",
            (Self::Empty, 1) => "message",
            (Self::Empty, _) => "messages",
        };
        match (self, moved) {
            (_, 0) => format!("{which} has no {what}"),
            (Self::Redrive, 1) => format!("1 {what} of {which} is run again"),
            (Self::Redrive, _) => format!("{moved} {what} of {which} are run again"),
            (Self::Purge | Self::Empty, 1) => format!("1 {what} of {which} is gone"),
            (Self::Purge | Self::Empty, _) => format!("{moved} {what} of {which} are gone"),
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
    let which = &args.which;
    if way == Way::Purge {
        let letters = if args.all {
            "all dead letters".to_owned()
        } else {
            format!("{} of the dead letters", args.ids.len())
        };
        session.talk.confirm(&format!("Take away {letters} of '{which}'?"), session.shared.yes)?;
    }
    let mut events = Events::reach(session).await?;
    let moved = if args.all {
        let id = which.resolve(&mut events, way.verb()).await?;
        all(&mut events, &id, way).await?
    } else {
        let mut moved = 0;
        for id in &args.ids {
            moved += one(&mut events, which, *id, way).await?;
        }
        moved
    };
    session.talk.say(session.talk.done(&way.done(moved, &which.to_string())));
    session.output.one(&MovedView::new(which, moved, way.outcome()))
}

/// All that were there when it began, each once: those that die again meanwhile are not run for ever.
pub(in crate::command) async fn all(events: &mut Events, id: &QueueId, way: Way) -> Result<u64, Failure> {
    let (mut moved, mut part) = (0, (0, 0));
    loop {
        events.renew();
        let Moved { count, rest, .. } = range(events, id, part, way).await?;
        moved += count;
        match rest {
            Some(rest) => part = rest,
            None => return Ok(moved),
        }
    }
}

pub(super) async fn one(
    events: &mut Events,
    which: &Which,
    id: InvocationId,
    way: Way,
) -> Result<u64, Failure> {
    let record = events.find(id).await?.record;
    let namespace = namespace_of(&record)?;
    if !which.has(&namespace, &record.queue) {
        let whose = QueueId { namespace, queue: record.queue };
        return Err(Failure::usage(format!("invocation {id} is not of '{which}' but of '{whose}'")));
    }
    if record.state() != InvocationState::Dead {
        return Err(not_dead(id, record.state()));
    }
    let queue = QueueId { namespace, queue: record.queue };
    let moved = range(events, &queue, (record.message, record.message.saturating_add(1)), way).await?;
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
    id: &QueueId,
    (from, to): (u64, u64),
    way: Way,
) -> Result<Moved, Failure> {
    let sent = Cell::new(0_u32);
    let send = async |mut service: Queues, place| {
        sent.set(sent.get().saturating_add(1));
        let (place, queue, waiting) = (Some(place), id.queue.clone(), way == Way::Empty);
        let request = pb::MoveMessagesRequest { place, queue, from, to, waiting };
        match way {
            Way::Redrive => service.redrive(request).await,
            Way::Purge | Way::Empty => service.purge(request).await,
        }
    };
    let reply = events.queues(way.verb(), &id.namespace, send).await?;
    let rest = (reply.next > 0).then_some((reply.next, reply.to));
    Ok(Moved { count: reply.moved, rest, again: sent.get() > 1 })
}

/// The namespace of a record: what stands there was let in once.
pub(super) fn namespace_of(record: &pb::InvocationRecord) -> Result<Namespace, Failure> {
    let namespace = record.namespace.parse();
    namespace
        .map_err(|error| Failure::local("the store's answer", format!("'{}': {error}", record.namespace)))
}
