//! Messages in queues: each accepted one is ready, delayed, behind another one, claimed or dead, until it is settled,
//! cancelled, purged or expired, and each of these ends is counted. `ledger` has a record follow it, from when it was
//! accepted until a day after its end.

mod answers;
mod bounds;
mod claim;
mod dedup;
mod desk;
mod drop;
mod group;
mod lapse;
mod ledger;
mod manner;
mod memory;
mod moves;
mod pages;
mod publish;
mod read;
mod read_topics;
mod revoke;
mod room;
mod settle;
mod tend;
mod topic;

pub(super) use claim::{claim, extend};
pub(super) use desk::count_refused;
pub(super) use drop::{drop, go_on, release};
pub(super) use lapse::{age, expire, lapse, wake};
pub(super) use ledger::Told;
pub(super) use memory::{forget_ids, forget_records};
pub use pages::{QueuePage, Waiting, queue_page, waiting};
pub(super) use publish::{publish, submit};
pub use read::{Peeked, active, all_queues, counts, dead, held, message, queue, queues, ready};
pub use read_topics::{all_topics, named_count, topic, topics};
pub(super) use revoke::{cancel, revive};
pub(super) use room::never_fits;
pub(super) use settle::{offer, settle};
pub(super) use tend::{pause, purge, put, redrive};
pub(super) use topic::{drop_topic, put_topic, subscribe, unsubscribe};
