//! A queue: what it is told, and what it counts. A topic: who hears it.

use super::super::name::Name;
use super::manner::Manner;

/// A queue, as it is told to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its bounds and times.
    pub settings: Settings,
    /// Nothing is claimed while it is.
    pub paused: bool,
    /// The function of its namespace that takes its messages; none: nothing is claimed.
    pub target: Option<Name>,
    /// It is being deleted, which goes on by itself at this time, Unix milliseconds. Nothing enters it and nothing is claimed.
    pub dropping_ms: Option<u64>,
    /// Nobody fills it any more: who heard a topic or watched a bucket by it does so no more. It goes with its last message.
    pub ends_when_empty: bool,
}

impl Queue {
    /// A queue that is told so, and nothing else.
    #[must_use]
    pub const fn told(settings: Settings, target: Option<Name>) -> Self {
        Self { settings, paused: false, target, dropping_ms: None, ends_when_empty: false }
    }

    /// Whether its messages may be claimed.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.paused && self.target.is_some() && self.dropping_ms.is_none()
    }
}

/// Bounds and times of a queue, and how its messages are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Messages that it may have, dead letters among them.
    pub messages_max: u64,
    /// Their bytes.
    pub bytes_max: u64,
    /// How often a message is tried; at least once.
    pub attempts_max: u32,
    /// The longest wait after the first attempt; twice as long after each other one.
    pub backoff_ms: u64,
    /// The longest wait after any attempt.
    pub backoff_max_ms: u64,
    /// How long a message may wait from when it may be delivered first.
    pub age_ms: u64,
    /// How long a dead letter is kept.
    pub dead_keep_ms: u64,
    /// How the function wants them.
    pub manner: Manner,
}

impl Settings {
    /// What a queue has that says nothing: three tries, waits from a second to five minutes, an age of six hours, two
    /// weeks for dead letters; a million messages, a gigabyte.
    pub const DEFAULT: Self = Self {
        messages_max: 1_000_000,
        bytes_max: 1 << 30,
        attempts_max: 3,
        backoff_ms: 1000,
        backoff_max_ms: 5 * 60 * 1000,
        age_ms: 6 * 60 * 60 * 1000,
        dead_keep_ms: 14 * 24 * 60 * 60 * 1000,
        manner: Manner::USUAL,
    };
}

/// How many messages a queue has in each state, and what became of all that it had: each one that was published is in
/// one of the states, settled, cancelled, purged or expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// May be claimed.
    pub ready: u64,
    /// Wait for their time.
    pub delayed: u64,
    /// Wait for another one of their group.
    pub behind: u64,
    /// Are being tried.
    pub claimed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of all of these.
    pub bytes: u64,
    /// Ids that are remembered.
    pub dedups: u64,
    /// Were taken in.
    pub published: u64,
    /// Came again, and were not.
    pub repeated: u64,
    /// Were refused by a bound of the queue.
    pub refused: u64,
    /// Attempts that failed and are made again.
    pub retried: u64,
    /// Attempts that the platform gave back.
    pub offered: u64,
    /// Attempts of which nobody told the end.
    pub lapsed: u64,
    /// Became dead letters after their last attempt.
    pub dead_attempts: u64,
    /// Became dead letters because they waited for too long.
    pub dead_age: u64,
    /// Became dead letters because whoever got them wanted it.
    pub dead_rejected: u64,
    /// Dead letters that were given another life.
    pub redriven: u64,
    /// Are done with.
    pub settled: u64,
    /// Were taken away.
    pub purged: u64,
    /// Dead letters whose time was over.
    pub expired: u64,
    /// Ids that were forgotten before their day was over.
    pub forgotten: u64,
    /// Were taken away because nobody wanted them any more.
    pub cancelled: u64,
    /// Records that are kept of what has ended, dead letters not among them.
    pub records: u64,
    /// Records that were forgotten before their day was over.
    pub records_forgotten: u64,
    /// No ready message has a lower number: a search begins here, and does not go through all that was there before.
    pub ready_from: u64,
    /// The same of the messages of remembered ids.
    pub dedups_from: u64,
    /// The same of when what has ended did, Unix milliseconds.
    pub records_from_ms: u64,
    /// Bytes of the answers that are kept.
    pub answer_bytes: u64,
    /// When its timer for the oldest of these records is due, Unix milliseconds; 0: it has none.
    pub records_timer_ms: u64,
    /// The same of the oldest id.
    pub ids_timer_ms: u64,
    /// No message has a lower number.
    pub delivery_from: u64,
}

impl Counts {
    /// Messages that the queue has.
    #[must_use]
    pub const fn messages(&self) -> u64 {
        self.ready + self.delayed + self.behind + self.claimed + self.dead
    }
}

/// A topic: what is published to it goes to a queue of each subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topic {
    /// Functions of its namespace, sorted.
    pub subscribers: Vec<Name>,
    /// Messages that it has taken since it was made.
    pub published: u64,
}

/// How many queues and topics the group has, other than the queues of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Queues {
    pub(in super::super) count: u64,
}

/// How many buckets the group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Buckets {
    pub(in super::super) count: u64,
}
