//! Where each record lies. This is the one place that knows the keys of a data group.
//!
//! A key begins with one byte for its kind. Numbers are big-endian, so that they sort as numbers; a PLACE is a namespace
//! and a name, each with a zero byte behind it, so that no name is the beginning of another one. What may be any bytes stands last.
//!
//! | key | record | why it is scanned |
//! |---|---|---|
//! | `g` | the group | |
//! | `r` REQUEST | a remembered outcome | |
//! | `o` SEQUENCE REQUEST | | the oldest outcome is forgotten first |
//! | `b` PLACE | a bucket | |
//! | `v` PLACE KEY | a value | list by prefix; drop of a bucket |
//! | `q` PLACE | a queue's settings | |
//! | `n` PLACE | a queue's counts | |
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
//! | `k` PLACE | a schedule's cursor | |
//! | `t` KIND TIME SUBJECT | | what has become due, per kind |
//!
//! The SUBJECT of a timer is the rest of the key of what it is about. AGE is what is missing to the greatest time that there is.

use bytes::Bytes;
use coracle_proto::id::{InvocationId, Namespace, RequestId};

use super::name::{Name, Place};
use super::op::Span;

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
}

impl Due {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Values, Self::Delays, Self::Claims, Self::Ages, Self::Dead];

    const fn byte(self) -> u8 {
        match self {
            Self::Values => b'v',
            Self::Delays => b'w',
            Self::Claims => b'c',
            Self::Ages => b'a',
            Self::Dead => b'd',
        }
    }
}

/// Kinds of keys that [`touched`] knows.
const READY: u8 = b'w';
const ACTIVE: u8 = b'a';
const INVOCATION: u8 = b'e';

/// Bytes before the subject in a timer's key: `t`, the kind and the time.
const TIMER_HEAD: usize = 10;

pub(super) fn group() -> Bytes {
    Bytes::from_static(b"g")
}

pub(super) fn request(id: RequestId) -> Bytes {
    Parts::of(b'r').bytes(&id.to_wire()).key()
}

/// In the order in which requests were done.
pub(super) fn done(sequence: u64, id: RequestId) -> Bytes {
    Parts::of(b'o').number(sequence).bytes(&id.to_wire()).key()
}

/// The oldest outcomes: all rows before this sequence.
pub(super) fn done_range() -> (Bytes, Bytes) {
    range(Parts::of(b'o').key())
}

/// Sequence and request of a row of [`done`].
pub(super) fn done_parts(key: &[u8]) -> Option<(u64, RequestId)> {
    let (sequence, id) = key.get(1..)?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*sequence), RequestId::try_from(id).ok()?))
}

pub(super) fn bucket(bucket: &Place) -> Bytes {
    Parts::of(b'b').place(bucket).key()
}

pub(super) fn value(bucket: &Place, key: &[u8]) -> Bytes {
    Parts::of(b'v').place(bucket).bytes(key).key()
}

/// All values of a bucket whose keys begin so.
pub(super) fn values(bucket: &Place, prefix: &[u8]) -> (Bytes, Bytes) {
    range(value(bucket, prefix))
}

pub(super) fn queue(queue: &Place) -> Bytes {
    Parts::of(b'q').place(queue).key()
}

pub(super) fn counts(queue: &Place) -> Bytes {
    Parts::of(b'n').place(queue).key()
}

pub(super) fn message(queue: &Place, message: u64) -> Bytes {
    Parts::of(b'm').place(queue).number(message).key()
}

pub(super) fn delivery(queue: &Place, message: u64) -> Bytes {
    Parts::of(b's').place(queue).number(message).key()
}

pub(super) fn delivery_span(queue: &Place, span: Span) -> (Bytes, Bytes) {
    (delivery(queue, span.from), delivery(queue, span.to))
}

pub(super) fn ready(queue: &Place, message: u64) -> Bytes {
    Parts::of(READY).place(queue).number(message).key()
}

pub(super) fn ready_range(queue: &Place) -> (Bytes, Bytes) {
    range(Parts::of(READY).place(queue).key())
}

/// That a queue has something to be claimed.
pub(super) fn active(queue: &Place) -> Bytes {
    Parts::of(ACTIVE).place(queue).key()
}

/// Those behind a queue, or all.
pub(super) fn active_after(queue: Option<&Place>) -> (Bytes, Bytes) {
    let all = range(Parts::of(ACTIVE).key());
    queue.map_or_else(|| all.clone(), |queue| (after(&active(queue)), all.1.clone()))
}

/// The queues of a namespace behind one of them, or all.
pub(super) fn queues_after(namespace: &Namespace, name: Option<&Name>) -> (Bytes, Bytes) {
    let parts = Parts::of(b'q').text(namespace.as_str());
    let all = range(parts.clone().key());
    name.map_or_else(|| all.clone(), |name| (after(&parts.text(name.as_str()).key()), all.1.clone()))
}

/// The place of which the whole rest of a key is.
pub(super) fn place_of(key: &[u8]) -> Option<Place> {
    subject_parts(key.get(1..)?).filter(|(_, rest)| rest.is_empty()).map(|(place, _)| place)
}

pub(super) fn dead(queue: &Place, message: u64) -> Bytes {
    Parts::of(b'd').place(queue).number(message).key()
}

pub(super) fn dead_span(queue: &Place, span: Span) -> (Bytes, Bytes) {
    (dead(queue, span.from), dead(queue, span.to))
}

pub(super) fn in_group(queue: &Place, group: &str, message: u64) -> Bytes {
    Parts::of(b'f').place(queue).text(group).number(message).key()
}

pub(super) fn group_range(queue: &Place, group: &str) -> (Bytes, Bytes) {
    range(Parts::of(b'f').place(queue).text(group).key())
}

/// The message with whose number a row ends.
pub(super) fn message_number(row: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*row.last_chunk()?))
}

pub(super) fn dedup(queue: &Place, source: &str, id: &str) -> Bytes {
    Parts::of(b'i').place(queue).text(source).bytes(id.as_bytes()).key()
}

/// In the order in which ids were taken in.
pub(super) fn dedup_order(queue: &Place, message: u64, source: &str, id: &str) -> Bytes {
    Parts::of(b'j').place(queue).number(message).text(source).bytes(id.as_bytes()).key()
}

pub(super) fn dedup_range(queue: &Place) -> (Bytes, Bytes) {
    range(Parts::of(b'j').place(queue).key())
}

/// The key of the id that a row of [`dedup_order`] is about.
pub(super) fn dedup_of_order(row: &[u8]) -> Option<Bytes> {
    let (place, rest) = subject_parts(row.get(1..)?)?;
    let (_, source_and_id) = rest.split_first_chunk::<8>()?;
    Some(Parts::of(b'i').place(&place).bytes(source_and_id).key())
}

pub(super) fn invocation(id: InvocationId) -> Bytes {
    Parts::of(INVOCATION).bytes(&id.to_bytes()).key()
}

pub(super) fn answer(id: InvocationId) -> Bytes {
    Parts::of(b'x').bytes(&id.to_bytes()).key()
}

/// In which order a list has them: the newest first.
pub(super) fn listed(namespace: &Namespace, accepted_ms: u64, id: InvocationId) -> Bytes {
    Parts::of(b'l').text(namespace.as_str()).number(u64::MAX - accepted_ms).bytes(&id.to_bytes()).key()
}

/// Those accepted from the first time on and before the second one.
pub(super) fn listed_between(namespace: &Namespace, since_ms: u64, until_ms: u64) -> (Bytes, Bytes) {
    let namespace = Parts::of(b'l').text(namespace.as_str());
    let from = namespace.clone().number((u64::MAX - until_ms).saturating_add(1)).key();
    (from, after(&namespace.number(u64::MAX - since_ms).key()))
}

/// When that of a row of [`listed`] was accepted, and which one it is.
pub(super) fn listed_parts(row: &[u8]) -> Option<(u64, InvocationId)> {
    let (rest, id) = row.split_last_chunk::<16>()?;
    let age = u64::from_be_bytes(*rest.last_chunk()?);
    Some((u64::MAX - age, InvocationId::new(u128::from_be_bytes(*id))))
}

/// In the order in which the invocations of a queue ended.
pub(super) fn ended(queue: &Place, at_ms: u64, id: InvocationId) -> Bytes {
    Parts::of(b'z').place(queue).number(at_ms).bytes(&id.to_bytes()).key()
}

pub(super) fn ended_range(queue: &Place) -> (Bytes, Bytes) {
    range(Parts::of(b'z').place(queue).key())
}

/// When that of a row of [`ended`] ended, and which one it is.
pub(super) fn ended_parts(row: &[u8]) -> Option<(u64, InvocationId)> {
    let (rest, id) = row.split_last_chunk::<16>()?;
    Some((u64::from_be_bytes(*rest.last_chunk()?), InvocationId::new(u128::from_be_bytes(*id))))
}

/// What somebody who is told of changed keys may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// Something may have become ready, or is not any more.
    Ready,
    /// The record of this invocation: it was accepted, an attempt was reported, it ended, was revived or forgotten.
    Invocation(InvocationId),
}

/// What a changed key is about; none: nothing that anybody waits for.
#[must_use]
pub fn touched(key: &[u8]) -> Option<Touched> {
    let (kind, rest) = key.split_first()?;
    match *kind {
        READY | ACTIVE => Some(Touched::Ready),
        INVOCATION => InvocationId::try_from(rest).ok().map(Touched::Invocation),
        _ => None,
    }
}

pub(super) fn cursor(schedule: &Place) -> Bytes {
    Parts::of(b'k').place(schedule).key()
}

/// A timer of `subject`, which is the key of what it is about.
pub(super) fn timer(due: Due, at_ms: u64, about: &[u8]) -> Bytes {
    Parts::of(b't').byte(due.byte()).number(at_ms).bytes(about.get(1..).unwrap_or_default()).key()
}

/// The timers of a kind up to a time, and of that time.
pub(super) fn timers(due: Due, until_ms: u64) -> (Bytes, Bytes) {
    let kind = Parts::of(b't').byte(due.byte());
    let from = kind.clone().key();
    // After the last millisecond that there is come the timers of the next kind.
    let to = until_ms.checked_add(1).map_or_else(|| after(&from), |after_ms| kind.number(after_ms).key());
    (from, to)
}

/// When a timer is due, and what it is about.
pub(super) fn timer_parts(key: &[u8]) -> Option<(u64, &[u8])> {
    let (head, subject) = key.split_at_checked(TIMER_HEAD)?;
    Some((u64::from_be_bytes(*head.last_chunk()?), subject))
}

/// The place with which a subject begins, and what follows it.
pub(super) fn subject_parts(subject: &[u8]) -> Option<(Place, &[u8])> {
    let (namespace, rest) = text(subject)?;
    let (name, rest) = text(rest)?;
    Some((Place::parse(namespace, name).ok()?, rest))
}

/// The key of a value, after that of its bucket.
pub(super) fn value_parts(key: &[u8]) -> Option<(Place, &[u8])> {
    subject_parts(key.get(1..)?)
}

/// From a prefix on to whatever does not begin with it.
fn range(prefix: Bytes) -> (Bytes, Bytes) {
    let to = after(&prefix);
    (prefix, to)
}

/// The least bytes that are greater than all that begin with `prefix`. Every key begins with a letter, so there are some.
fn after(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end.into()
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(text).ok()?, rest.get(1..)?))
}

/// A key in the making.
#[derive(Clone)]
struct Parts(Vec<u8>);

impl Parts {
    fn of(kind: u8) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(kind);
        Self(bytes)
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes()).byte(0)
    }

    fn place(self, place: &Place) -> Self {
        self.text(place.namespace.as_str()).text(place.name.as_str())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn key(self) -> Bytes {
        self.0.into()
    }
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
        let (from, to) = timers(Due::Values, 256);
        for (at_ms, inside) in [(0, true), (255, true), (256, true), (257, false), (u64::MAX, false)] {
            let key = timer(Due::Values, at_ms, &about);
            assert_eq!(from <= key && key < to, inside, "{at_ms}");
            let (at, subject) = timer_parts(&key).unwrap();
            assert_eq!((at, subject_parts(subject)), (at_ms, Some((place("a"), &b"k\0\xff"[..]))));
        }
        let (from, to) = timers(Due::Values, u64::MAX);
        let last = timer(Due::Values, u64::MAX, &about);
        assert!(from <= last && last < to);
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
