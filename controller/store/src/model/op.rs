//! What may be asked of a data group, and the entry in which it is asked.

mod blob;
mod effect;
mod span;
mod tick;
mod verdict;

use coracle_proto::id::{ClusterId, FunctionId, GroupId, InvocationId, NodeId, RequestId};

use super::keys::Due;
use super::name::{Name, Place};
use super::record::{Answer, Definition, Part, Report, Sealed, Settings, Terms, Ticket, Watcher};

pub use blob::{Begin, BlobBecomes, BlobChange, BlobContent, ToHold, UploadName};
pub use effect::{Change, Check, Effect, Publish, Write};
pub use span::{Deletion, Kept, Span};
pub use tick::Tick;
pub use verdict::{Other, Verdict};

/// The highest format of operations that this program reads. What `apply` does belongs to the format.
pub const FORMAT: u32 = 1;

/// One entry of the log: operations with the stamp of the leader that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The cluster that is meant.
    pub cluster: ClusterId,
    /// The Raft group that is meant.
    pub group: GroupId,
    /// In which the leader made it: in the log of another term it counts for nothing.
    pub term: u64,
    /// The leader's clock, Unix milliseconds.
    pub stamp_ms: u64,
    /// The leader's random word.
    pub random: u64,
    /// Done in this order, each of them whole or not at all.
    pub ops: Vec<Asked>,
}

impl Batch {
    /// The first format that has it as it is here: replicas of a lower one cannot apply it.
    #[must_use]
    pub fn format(&self) -> u32 {
        self.ops.iter().map(|asked| asked.op.format()).max().unwrap_or(1)
    }
}

/// An operation with what makes it safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// None where doing it again does no harm.
    pub request: Option<Request>,
    /// What is asked.
    pub op: Op,
}

/// What tells a repeated operation from a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Made by the first client and kept on each retry.
    pub id: RequestId,
    /// The group's sequence that the client had seen before its first attempt.
    pub since: u64,
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Makes a bucket, or gives it other bounds. What it holds over a new bound stays.
    PutBucket {
        /// Which one.
        bucket: Place,
        /// Keys that it may have.
        keys_max: u64,
        /// Bytes of keys and values, or of keys and blobs, that it may have.
        bytes_max: u64,
        /// What it is to hold.
        holds: ToHold,
    },
    /// Deletes a bucket with its values, as far as one operation may. From the first on nothing is written to it.
    DropBucket {
        /// Which one.
        bucket: Place,
        /// Also while it is watched: then nobody is told.
        force: bool,
        /// Only where it is being deleted already. Another one of the same name is not meant.
        begun: bool,
    },
    /// From now on a function gets the changes of a bucket that concern it, by a queue that is made or told anew.
    Watch {
        /// Which bucket.
        bucket: Place,
        /// Who, and what concerns it.
        watcher: Watcher,
        /// Of the queue.
        settings: Settings,
    },
    /// The function gets nothing new.
    Unwatch {
        /// Which bucket.
        bucket: Place,
        /// Who.
        function: Name,
    },
    /// Effects that are done all or not at all.
    Perform {
        /// In this order; a later one sees what an earlier one did.
        effects: Vec<Effect>,
        /// Calls for events that stand behind them.
        hops: u64,
    },
    /// Does what has become due.
    Sweep {
        /// Of which kind.
        due: Due,
        /// How much of it at most; never more than an operation may.
        steps: u32,
        /// Before this time nothing of it is due, Unix milliseconds: what was there is not gone through again.
        from_ms: u64,
    },
    /// Makes a queue, or gives it other settings.
    PutQueue {
        /// Which one.
        queue: Place,
        /// From now on.
        settings: Settings,
        /// The function of the queue's namespace that takes its messages; none: nothing is claimed.
        target: Option<Name>,
    },
    /// Deletes a queue with all that is its own, as far as one operation may. From the first on nothing enters it and nothing is claimed;
    /// what is claimed settles in vain.
    DropQueue {
        /// Which one.
        queue: Place,
        /// Under which conditions.
        deletion: Deletion,
        /// How much of it is taken away; never more than an operation may.
        steps: u32,
    },
    /// Makes a topic where there is none.
    PutTopic {
        /// Which one.
        topic: Place,
    },
    /// Takes a topic away. The queues of its subscribers go when they are empty.
    DropTopic {
        /// Which one.
        topic: Place,
        /// Also while it has subscribers.
        force: bool,
    },
    /// From now on a function gets what is published to a topic, by a queue that is made or told anew.
    Subscribe {
        /// Which topic.
        topic: Place,
        /// Who, of the topic's namespace.
        function: Name,
        /// Of the queue.
        settings: Settings,
    },
    /// The function gets nothing new.
    Unsubscribe {
        /// Which topic.
        topic: Place,
        /// Who.
        function: Name,
    },
    /// Stops claims, or lets them go on.
    PauseQueue {
        /// Which one.
        queue: Place,
        /// Whether it is paused from now on.
        paused: bool,
    },
    /// Calls a function asynchronously: a message for its queue, which is made where there is none.
    Submit {
        /// Which function.
        function: FunctionId,
        /// The call; its queue is that of the function.
        publish: Publish,
    },
    /// Gives ready messages to a node, the oldest first.
    Claim {
        /// Of which queue.
        queue: Place,
        /// Who calls the function.
        node: NodeId,
        /// How many messages at most.
        most: u32,
        /// When the attempt counts as lost, Unix milliseconds.
        until_ms: u64,
    },
    /// The attempt goes on.
    Extend {
        /// Whose.
        ticket: Ticket,
        /// When it counts as lost now.
        until_ms: u64,
    },
    /// The platform could not run it: the message is given back, and no attempt is counted.
    Offer {
        /// Whose.
        ticket: Ticket,
        /// When it may be claimed again, milliseconds from now; at most `OFFER_MS_MAX`.
        after_ms: u64,
        /// Why it could not, for people; empty: nobody asks.
        error: String,
    },
    /// The attempt ended.
    Settle {
        /// Whose.
        ticket: Ticket,
        /// How.
        verdict: Verdict,
        /// Where and how it ran; none: nothing was run. Its number is set here.
        report: Option<Report>,
        /// What the function answered; none: there is nothing to keep.
        answer: Option<Answer>,
    },
    /// What has not ended is not wanted any more: its message is taken away, and who runs it settles in vain.
    Cancel {
        /// Which one.
        invocation: InvocationId,
    },
    /// A dead letter is tried again, with all its attempts.
    Revive {
        /// Of which invocation.
        invocation: InvocationId,
    },
    /// Dead letters are tried again, with all their attempts.
    Redrive {
        /// Of which queue.
        queue: Place,
        /// Which of them.
        span: Span,
        /// How many are looked at; never more than an operation may.
        steps: u32,
    },
    /// Messages are taken away.
    Purge {
        /// Of which queue.
        queue: Place,
        /// Of which kind.
        kept: Kept,
        /// Which of them.
        span: Span,
        /// How many are looked at; never more than an operation may.
        steps: u32,
    },
    /// Makes a schedule, or tells it anew.
    PutSchedule {
        /// Which one.
        schedule: Place,
        /// From now on.
        definition: Box<Definition>,
        /// Its times after this one fire, Unix milliseconds: where it is new, or has other times than before.
        from_ms: u64,
    },
    /// Takes a schedule away.
    DropSchedule {
        /// Which one.
        schedule: Place,
    },
    /// Stops a schedule, or lets it go on.
    PauseSchedule {
        /// Which one.
        schedule: Place,
        /// Whether it is paused from now on.
        paused: bool,
        /// Where it goes on: its times after this one fire.
        from_ms: u64,
    },
    /// A schedule's time has come: its function is called, once for each time.
    Tick(Tick),
    /// Calls a schedule's function now.
    Trigger {
        /// Which schedule.
        schedule: Place,
        /// The call, made by who asks for it.
        invocation: InvocationId,
    },
    /// Opens an upload of a blob.
    BeginUpload(Begin),
    /// An upload goes on: its time begins anew.
    RenewUpload(UploadName),
    /// The chunks of a part are there. One of the same number is replaced.
    PutPart {
        /// Of which upload.
        upload: UploadName,
        /// Which one, with its digest.
        part: Part,
    },
    /// An upload is given up.
    AbortUpload(UploadName),
    /// Makes a secret, or tells it anew.
    PutSecret {
        /// Which one.
        secret: Place,
        /// From now on.
        value: Sealed,
        /// How long the value before stays good, milliseconds.
        keep_ms: u64,
    },
    /// Takes a secret away.
    DropSecret {
        /// Which one.
        secret: Place,
        /// Also while a webhook uses it: then that lets nobody in.
        force: bool,
    },
    /// Makes a webhook with its queue, or tells both anew.
    PutWebhook {
        /// Which one.
        webhook: Place,
        /// From now on.
        terms: Terms,
        /// Of the queue.
        settings: Settings,
    },
    /// Takes a webhook away. Its queue goes when it is empty.
    DropWebhook {
        /// Which one.
        webhook: Place,
    },
}

impl Op {
    /// The first format that has it as it is here.
    #[must_use]
    pub const fn format(&self) -> u32 {
        match self {
            Self::PutBucket { .. }
            | Self::DropBucket { .. }
            | Self::Perform { .. }
            | Self::Watch { .. }
            | Self::Unwatch { .. }
            | Self::DropQueue { .. }
            | Self::PutTopic { .. }
            | Self::DropTopic { .. }
            | Self::Subscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::Sweep { .. }
            | Self::PutQueue { .. }
            | Self::PauseQueue { .. }
            | Self::Submit { .. }
            | Self::Claim { .. }
            | Self::Extend { .. }
            | Self::Offer { .. }
            | Self::Settle { .. }
            | Self::Cancel { .. }
            | Self::Revive { .. }
            | Self::Redrive { .. }
            | Self::Purge { .. }
            | Self::PutSchedule { .. }
            | Self::DropSchedule { .. }
            | Self::PauseSchedule { .. }
            | Self::Tick(_)
            | Self::Trigger { .. }
            | Self::BeginUpload(_)
            | Self::RenewUpload(_)
            | Self::PutPart { .. }
            | Self::AbortUpload(_)
            | Self::PutSecret { .. }
            | Self::DropSecret { .. }
            | Self::PutWebhook { .. }
            | Self::DropWebhook { .. } => 1,
        }
    }
}
