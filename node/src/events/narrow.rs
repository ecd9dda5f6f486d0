//! How many messages of a queue run at once where its function can take no more: found by what is refused, and tried again.
//!
//! A backlog at a function's limit would else go through the log all the time, message by message: claimed, refused, given
//! back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coracle_proto::id::Namespace;

/// After the first refusal nothing more is tried for so long, and for twice as long after each one that follows.
const REST_MIN: Duration = Duration::from_millis(100);
/// However often it was.
const REST_MAX: Duration = Duration::from_secs(5);
/// Queues that are remembered. Where there are more all are found anew.
const QUEUES_MAX: usize = 1000;

/// A queue of a namespace.
pub(super) type Queue = (Namespace, String);

/// Queues whose functions could take no more.
#[derive(Debug, Default)]
pub(super) struct Narrow(BTreeMap<Queue, Width>);

#[derive(Debug)]
struct Width {
    /// So many run at once.
    messages: usize,
    until: Instant,
    rest: Duration,
    /// It was widened since the last refusal.
    tried: bool,
}

impl Narrow {
    /// A message was refused while so many `others` of its queue ran.
    pub(super) fn refused(&mut self, queue: Queue, others: usize, now: Instant) {
        if self.0.len() >= QUEUES_MAX && !self.0.contains_key(&queue) {
            self.0.clear();
        }
        let fresh = Width { messages: others, until: now + REST_MIN, rest: REST_MIN, tried: false };
        let width = self.0.entry(queue).or_insert(fresh);
        // What came together is refused together: that is one refusal.
        width.messages = width.messages.min(others);
        if width.tried {
            width.rest = (width.rest * 2).min(REST_MAX);
            (width.until, width.tried) = (now + width.rest, false);
        }
    }

    /// Tries twice as many of those whose rest is over, and forgets those that then have as many as they may.
    pub(super) fn widen(&mut self, share: usize, now: Instant) {
        self.0.retain(|_, width| {
            if now < width.until {
                return true;
            }
            let narrow = width.messages < share;
            width.messages = width.messages.saturating_mul(2).clamp(1, share);
            (width.until, width.tried) = (now + width.rest, true);
            narrow
        });
    }

    /// How many of each run at once.
    pub(super) fn widths(&self) -> impl Iterator<Item = (&Queue, usize)> {
        self.0.iter().map(|(queue, width)| (queue, width.messages))
    }

    /// When one is to be widened.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|width| width.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> Queue {
        (Namespace::default(), name.to_owned())
    }

    fn width(narrow: &Narrow, queue: &Queue) -> Option<usize> {
        narrow.0.get(queue).map(|width| width.messages)
    }

    #[test]
    fn a_queue_is_narrow_until_its_rest_is_over_and_longer_each_time() {
        let (mut narrow, start, q) = (Narrow::default(), crate::clock::now(), queue("q"));
        let mut now = start;
        narrow.refused(q.clone(), 3, now);
        narrow.refused(q.clone(), 2, now);
        assert_eq!((width(&narrow, &q), width(&narrow, &queue("r"))), (Some(2), None));
        let mut rests = Vec::new();
        for _ in 0..8 {
            let next = narrow.next().unwrap();
            rests.push((next - now).as_millis());
            narrow.widen(100, next - Duration::from_millis(1));
            assert_eq!(width(&narrow, &q), Some(2));
            narrow.widen(100, next);
            assert_eq!(width(&narrow, &q), Some(4));
            now = next;
            narrow.refused(q.clone(), 2, now);
        }
        assert_eq!(rests, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[test]
    fn what_is_not_refused_any_more_is_forgotten() {
        let (mut narrow, q) = (Narrow::default(), queue("q"));
        narrow.refused(q.clone(), 0, crate::clock::now());
        let mut widths = vec![];
        while let Some(next) = narrow.next() {
            widths.extend(width(&narrow, &q));
            narrow.widen(5, next);
        }
        assert_eq!(widths, [0, 1, 2, 4, 5]);
        for number in 0..3 * QUEUES_MAX {
            narrow.refused(queue(&number.to_string()), 1, crate::clock::now());
        }
        assert!(narrow.widths().count() <= QUEUES_MAX);
    }
}
