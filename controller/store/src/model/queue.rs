//! Messages in queues: each accepted one is ready, delayed, behind another one, claimed or dead, until it is settled, purged
//! or expired, and each of these ends is counted.

mod claim;
mod dedup;
mod desk;
mod group;
mod lapse;
mod moves;
mod publish;
mod read;
mod settle;
mod tend;

pub(super) use claim::{claim, extend};
pub(super) use desk::count_refused;
pub(super) use lapse::{age, expire, lapse, wake};
pub(super) use publish::publish;
pub use read::{Peeked, counts, dead, message, queue, ready};
pub(super) use settle::{offer, settle};
pub(super) use tend::{pause, purge, put, redrive};
