//! Where each record lies. This is the one place that knows the keys of a data group.
//!
//! A key begins with one byte for its kind (`kind`). Numbers are big-endian, so that they sort as numbers; a PLACE is a namespace
//! and a name, each with a zero byte behind it, so that no name is the beginning of another one. What may be any bytes
//! stands last.
//!
//! | key | record | why it is scanned |
//! |---|---|---|
//! | `g` | the group | |
//! | `r` REQUEST | a remembered outcome | |
//! | `o` SEQUENCE REQUEST | | the oldest outcome is forgotten first |
//! | `b` PLACE | a bucket | list |
//! | `B` | how many buckets there are | |
//! | `h` PLACE | who watches a bucket | |
//! | `v` PLACE KEY | a value | list by prefix; drop of a bucket |
//! | `u` PLACE KEY | when somebody is told again of a value that has expired | |
//! | `K` PLACE KEY | a blob | list by prefix; drop of a bucket |
//! | `D` PLACE KEY | what a blob holds that came by no upload | |
//! | `M` UPLOAD | what a blob holds that came by one | |
//! | `S` SEQUENCE UPLOAD | | commits in their order |
//! | `U` UPLOAD | an open upload | |
//! | `P` UPLOAD PAGE | some of its parts | all of them |
//! | `N` PLACE UPLOAD | | the uploads of a bucket |
//! | `O` | how many uploads are open | |
//! | `q` PLACE | a queue's settings | |
//! | `n` PLACE | a queue's counts | |
//! | `p` PLACE | a topic | list |
//! | `y` | how many queues and topics there are | |
//! | `m` PLACE MESSAGE | what was published | |
//! | `s` PLACE MESSAGE | how far it is | purge of what waits |
//! | `w` PLACE MESSAGE | | the next ready messages |
//! | `a` PLACE | | queues that have something ready and whose messages may be claimed |
//! | `d` PLACE MESSAGE | | dead letters |
//! | `f` PLACE GROUP 0 MESSAGE | | who of a group is next |
//! | `i` PLACE SOURCE 0 ID | an id that was taken in | |
//! | `j` PLACE MESSAGE SOURCE 0 ID | | the oldest id is forgotten first |
//! | `e` INVOCATION | an invocation's record | |
//! | `x` INVOCATION | what it was answered | |
//! | `l` NAMESPACE 0 AGE INVOCATION | | a list, the newest first |
//! | `z` PLACE TIME INVOCATION | | the record that ended first is forgotten first |
//! | `k` PLACE | a schedule | all of them; list |
//! | `c` | how many schedules there are | |
//! | `X` PLACE | a secret | list |
//! | `Z` | how many secrets there are | |
//! | `W` PLACE | a webhook | list |
//! | `Y` PLACE WEBHOOK | | who uses a secret |
//! | `t` KIND TIME SUBJECT | | what has become due, per kind |
//!
//! The SUBJECT of a timer is the rest of the key of what it is about. AGE is what is missing to the greatest time that
//! there is.

mod blob;
mod invocation;
mod kind;
mod parts;
mod queue;
mod schedule;
mod topic;
mod touched;
mod webhook;

use bytes::Bytes;
use coracle_proto::id::{Namespace, RequestId};

use super::name::{Name, Place};
use kind::Kind;
use parts::{Parts, after, range};

pub(super) use blob::{
    all_parts, blob, blob_data, blob_parts, blobs, commit, commit_parts, commits, committed, parts,
    parts_from, upload, upload_count, upload_of, upload_of_parts, upload_parts_of, uploads_of,
};
pub(super) use invocation::{
    answer, ended, ended_parts, ended_range, invocation, listed, listed_between, listed_parts,
};
pub(super) use parts::{place_of, subject_parts};
pub(super) use queue::{
    active, active_after, all_queues, counts, dead, dead_span, dedup, dedup_of_order, dedup_order,
    dedup_range, delivery, delivery_span, group_from, in_group, message, message_number, queue, queues_after,
    ready, ready_range,
};
pub(super) use schedule::{schedule, schedules, schedules_after, schedules_of};
pub(super) use topic::{all_topics, queues, topic, topics_after};
pub use touched::{Touched, touched};
pub(super) use webhook::{
    secret, secrets, secrets_of, user, user_name, users, webhook, webhooks, webhooks_of,
};

/// Kinds of things that become due at a time, each with timers of its own: a flood of one does not hold up the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    /// Values whose time to live has passed.
    Values,
    /// Messages whose delay is over.
    Delays,
    /// Claims that were neither settled nor extended.
    Claims,
    /// Messages that have waited for too long.
    Ages,
    /// Dead letters that were kept long enough.
    Dead,
    /// Records of what has ended, of a queue: the oldest.
    Records,
    /// Ids that a queue remembers: the oldest.
    Ids,
    /// Queues that are being deleted.
    Drops,
    /// Buckets that are being deleted.
    Buckets,
    /// Uploads of which nobody has said a word for as long as they may last.
    Uploads,
    /// Values before of secrets, that are good no more.
    Secrets,
}

impl Due {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Values,
        Self::Delays,
        Self::Claims,
        Self::Ages,
        Self::Dead,
        Self::Records,
        Self::Ids,
        Self::Drops,
        Self::Buckets,
        Self::Uploads,
        Self::Secrets,
    ];

    const fn byte(self) -> u8 {
        match self {
            Self::Values => b'v',
            Self::Delays => b'w',
            Self::Claims => b'c',
            Self::Ages => b'a',
            Self::Dead => b'd',
            Self::Records => b'r',
            Self::Ids => b'i',
            Self::Drops => b'q',
            Self::Buckets => b'b',
            Self::Uploads => b'u',
            Self::Secrets => b's',
        }
    }
}

/// Bytes before the subject in a timer's key: `t`, the kind and the time.
const TIMER_HEAD: usize = 10;

pub(super) fn group() -> Bytes {
    Parts::of(Kind::Group).key()
}

pub(super) fn request(id: RequestId) -> Bytes {
    Parts::of(Kind::Request).bytes(&id.to_wire()).key()
}

/// In the order in which requests were done.
pub(super) fn done(sequence: u64, id: RequestId) -> Bytes {
    Parts::of(Kind::Done).number(sequence).bytes(&id.to_wire()).key()
}

/// What was done from this sequence on.
pub(super) fn done_range(from: u64) -> (Bytes, Bytes) {
    let done = Parts::of(Kind::Done);
    (done.clone().number(from).key(), after(&done.key()))
}

/// Sequence and request of a row of [`done`].
pub(super) fn done_parts(key: &[u8]) -> Option<(u64, RequestId)> {
    let (sequence, id) = key.get(1..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*sequence), RequestId::try_from(id).ok()?))
}

pub(super) fn bucket(bucket: &Place) -> Bytes {
    Parts::of(Kind::Bucket).place(bucket).key()
}

/// The buckets of a namespace behind one of them, or all.
pub(super) fn buckets_after(namespace: &Namespace, name: Option<&Name>) -> (Bytes, Bytes) {
    let parts = Parts::of(Kind::Bucket).text(namespace.as_str());
    let all = range(parts.clone().key());
    name.map_or_else(|| all.clone(), |name| (after(&parts.text(name.as_str()).key()), all.1.clone()))
}

/// How many there are.
pub(super) fn bucket_count() -> Bytes {
    Parts::of(Kind::Buckets).key()
}

/// Who watches a bucket.
pub(super) fn watchers(bucket: &Place) -> Bytes {
    Parts::of(Kind::Watchers).place(bucket).key()
}

pub(super) fn value(bucket: &Place, key: &[u8]) -> Bytes {
    Parts::of(Kind::Value).place(bucket).bytes(key).key()
}

/// Of a value that has expired: when somebody is told of it again.
pub(super) fn late(bucket: &Place, key: &[u8]) -> Bytes {
    Parts::of(Kind::Late).place(bucket).bytes(key).key()
}

/// All values of a bucket whose keys begin so.
pub(super) fn values(bucket: &Place, prefix: &[u8]) -> (Bytes, Bytes) {
    range(value(bucket, prefix))
}

/// A timer of `subject`, which is the key of what it is about.
pub(super) fn timer(due: Due, at_ms: u64, about: &[u8]) -> Bytes {
    Parts::of(Kind::Timer).byte(due.byte()).number(at_ms).bytes(about.get(1..).unwrap_or_default()).key()
}

/// The timers of a kind from a time up to another one, and of these times.
pub(super) fn timers(due: Due, from_ms: u64, until_ms: u64) -> (Bytes, Bytes) {
    let kind = Parts::of(Kind::Timer).byte(due.byte());
    let from = kind.clone().number(from_ms).key();
    // After the last millisecond that there is come the timers of the next kind.
    let all = kind.clone().key();
    let to = until_ms.checked_add(1).map_or_else(|| after(&all), |after_ms| kind.number(after_ms).key());
    // Nothing is between a time and one before it.
    (from.clone(), to.max(from))
}

/// When a timer is due, and what it is about.
pub(super) fn timer_parts(key: &[u8]) -> Option<(u64, &[u8])> {
    let (head, subject) = key.split_at_checked(TIMER_HEAD)?;
    Some((u64::from_be_bytes(*head.last_chunk()?), subject))
}

/// The key of a value, after that of its bucket.
pub(super) fn value_parts(key: &[u8]) -> Option<(Place, &[u8])> {
    subject_parts(key.get(1..)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place::parse("shop", name).unwrap()
    }

    #[test]
    fn timers_sort_by_time_and_tell_what_they_are_about() {
        let about = value(&place("a"), b"k\0\xff");
        let (from, to) = timers(Due::Values, 0, 256);
        for (at_ms, inside) in [(0, true), (255, true), (256, true), (257, false), (u64::MAX, false)] {
            let key = timer(Due::Values, at_ms, &about);
            assert_eq!(from <= key && key < to, inside, "{at_ms}");
            let (at, subject) = timer_parts(&key).unwrap();
            assert_eq!((at, subject_parts(subject)), (at_ms, Some((place("a"), &b"k\0\xff"[..]))));
        }
        let (from, to) = timers(Due::Values, 0, u64::MAX);
        let last = timer(Due::Values, u64::MAX, &about);
        assert!(from <= last && last < to);
    }

    #[test]
    fn each_kind_of_timer_has_a_byte_of_its_own() {
        let bytes: std::collections::BTreeSet<u8> = Due::ALL.map(Due::byte).into();
        assert_eq!(bytes.len(), Due::ALL.len());
    }

    /// Whoever reads the commits finds no other rows between them.
    #[test]
    fn a_secret_is_no_commit() {
        let (from, to) = commits(0);
        let key = secret(&place("a"));
        assert!(key < from || to <= key);
        assert_eq!(touched(&key), None);
    }

    #[test]
    fn a_name_is_not_the_beginning_of_another_one() {
        let (from, to) = values(&place("a"), b"");
        for (bucket, key, inside) in
            [("a", &b"\0"[..], true), ("a", b"\xff\xff", true), ("ab", b"x", false), ("a-", b"x", false)]
        {
            let key = value(&place(bucket), key);
            assert_eq!(from <= key && key < to, inside, "{bucket}");
        }
    }

    #[test]
    fn what_follows_a_prefix_is_after_all_of_it() {
        assert_eq!(after(b"va\xff\xff"), Bytes::from_static(b"vb"));
        assert_eq!(after(b"va"), Bytes::from_static(b"vb"));
        assert!(value(&place("a"), b"\xff\xff\xff") < values(&place("a"), b"\xff").1);
    }
}
