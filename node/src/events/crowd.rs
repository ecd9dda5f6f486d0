//! How many messages of a queue run at once where their calls overtake one another: half as many after each time, and one more
//! when some went well, more of them each time. After a while in which none was overtaken it is twice as many.
//!
//! Calls that all read and write the same value would else be made again and again, each for the one that came first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::narrow::Queue;

/// Calls that began together are overtaken together: that is one time.
const TOGETHER: Duration = Duration::from_millis(100);
/// As many have to go well in a row, at most, before one more is tried.
const NEEDED_MAX: usize = 64;
/// Where nothing was overtaken for so long twice as many are tried, however few went well.
const REST: Duration = Duration::from_secs(60);
/// Queues that are remembered. Where there are more all are found anew.
const QUEUES_MAX: usize = 1000;

/// Queues whose calls were overtaken.
#[derive(Debug, Default)]
pub(super) struct Crowd(BTreeMap<Queue, Few>);

#[derive(Debug)]
struct Few {
    /// So many run at once.
    messages: usize,
    /// As many ran at once before.
    most: usize,
    /// Calls that went well since the last time, and how many have to before one more runs.
    done: usize,
    needed: usize,
    /// What is overtaken before had begun with others.
    until: Instant,
    /// Twice as many are tried then.
    rests: Instant,
}

impl Crowd {
    /// A call was overtaken while so many of its queue ran, itself among them.
    pub(super) fn overtaken(&mut self, queue: Queue, running: usize, now: Instant) {
        if self.0.len() >= QUEUES_MAX && !self.0.contains_key(&queue) {
            self.0.clear();
        }
        let few = self.0.entry(queue).or_insert_with(|| Few {
            messages: running,
            most: running.max(2),
            done: 0,
            needed: 1,
            until: now,
            rests: now + REST,
        });
        (few.done, few.rests) = (0, now + REST);
        if now >= few.until {
            few.messages = (few.messages.min(running) / 2).max(1);
            few.needed = few.needed.saturating_mul(2).min(NEEDED_MAX);
            few.until = now + TOGETHER;
        }
    }

    /// One of a queue went well. One that has as many as ran when it was overtaken first is forgotten.
    pub(super) fn done(&mut self, queue: &Queue) {
        let Some(few) = self.0.get_mut(queue) else { return };
        few.done += 1;
        if few.done >= few.needed {
            (few.messages, few.done) = (few.messages + 1, 0);
        }
        if few.messages >= few.most {
            self.0.remove(queue);
        }
    }

    /// Tries twice as many of those of which none was overtaken for long, and forgets those that then have as many as they had.
    pub(super) fn widen(&mut self, now: Instant) {
        self.0.retain(|_, few| {
            if now >= few.rests {
                (few.messages, few.rests) = (few.messages.saturating_mul(2), now + REST);
            }
            few.messages < few.most
        });
    }

    /// When one is to be widened.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|few| few.rests).min()
    }

    /// How many of each run at once.
    pub(super) fn widths(&self) -> impl Iterator<Item = (&Queue, usize)> {
        self.0.iter().map(|(queue, few)| (queue, few.messages))
    }
}

#[cfg(test)]
mod tests {
    use coracle_proto::id::Namespace;

    use super::*;

    fn width(crowd: &Crowd, queue: &Queue) -> Option<usize> {
        crowd.widths().find(|(it, _)| *it == queue).map(|(_, width)| width)
    }

    #[test]
    fn a_crowd_is_halved_down_to_one_and_grows_more_slowly_each_time() {
        let (mut crowd, mut now) = (Crowd::default(), crate::clock::now());
        let queue: Queue = (Namespace::default(), "q".to_owned());
        let mut widths = Vec::new();
        for _ in 0..5 {
            // Of those that began together each is overtaken.
            for _ in 0..10 {
                crowd.overtaken(queue.clone(), 10, now);
            }
            widths.extend(width(&crowd, &queue));
            now += TOGETHER;
        }
        assert_eq!(widths, [5, 2, 1, 1, 1]);
        let mut needed = Vec::new();
        for _ in 0..3 {
            let done = (1..).find(|_| {
                crowd.done(&queue);
                width(&crowd, &queue) == Some(2)
            });
            needed.extend(done);
            crowd.overtaken(queue.clone(), 2, now);
            now += TOGETHER;
        }
        assert_eq!(needed, [32, 64, 64]);
        (0..NEEDED_MAX * 9).for_each(|_| crowd.done(&queue));
        assert_eq!(width(&crowd, &queue), None, "it has as many as it may");
        for number in 0..3 * QUEUES_MAX {
            crowd.overtaken((Namespace::default(), number.to_string()), 1, now);
        }
        assert!(crowd.widths().count() <= QUEUES_MAX);
    }

    #[test]
    fn what_is_not_overtaken_any_more_is_forgotten_though_nothing_went_well() {
        let (mut crowd, now) = (Crowd::default(), crate::clock::now());
        let queue: Queue = (Namespace::default(), "q".to_owned());
        for time in 0..4 {
            crowd.overtaken(queue.clone(), 9, now + time * TOGETHER);
        }
        let last = now + 3 * TOGETHER;
        assert_eq!(crowd.next(), Some(last + REST), "it rests from the last time on");
        crowd.widen(last + REST - TOGETHER);
        let mut widths = vec![width(&crowd, &queue)];
        while let Some(next) = crowd.next() {
            crowd.widen(next);
            widths.push(width(&crowd, &queue));
        }
        assert_eq!(widths, [Some(1), Some(2), Some(4), Some(8), None]);
    }
}
