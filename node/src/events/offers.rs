//! How often a message was given back: each time it comes back later.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use coracle_proto::id::Namespace;

use crate::stores::Ticket;

/// Messages that are counted. Where there are more the counts of all begin anew.
const COUNTED_MAX: usize = 10_000;

/// A message: its queue, and its number there.
type Message = (Namespace, String, u64);

/// Counts of messages.
#[derive(Debug)]
pub(super) struct Offers {
    after_min: Duration,
    after_max: Duration,
    counts: Mutex<HashMap<Message, u32>>,
}

impl Offers {
    /// It comes back after `after_min` the first time, and after `after_max` however often it was.
    pub(super) fn new(after_min: Duration, after_max: Duration) -> Self {
        Self { after_min, after_max, counts: Mutex::default() }
    }

    /// It is given back once more: after so long it may be given to somebody again.
    pub(super) fn after(&self, ticket: &Ticket) -> Duration {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let message = message(ticket);
        if counts.len() >= COUNTED_MAX && !counts.contains_key(&message) {
            counts.clear();
        }
        let count = counts.entry(message).or_default();
        let times = 1_u32.checked_shl(*count).unwrap_or(u32::MAX);
        let after = self.after_min.saturating_mul(times).min(self.after_max);
        *count = count.saturating_add(1);
        after
    }

    /// That is over.
    pub(super) fn forget(&self, ticket: &Ticket) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if !counts.is_empty() {
            counts.remove(&message(ticket));
        }
    }
}

fn message(ticket: &Ticket) -> Message {
    (ticket.namespace.clone(), ticket.queue.clone(), ticket.message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Fence;

    #[test]
    fn who_could_not_be_run_waits_longer_each_time() {
        let offers = Offers::new(Duration::from_millis(100), Duration::from_secs(5));
        let ticket = |message, sequence| Ticket {
            namespace: Namespace::default(),
            queue: "q".to_owned(),
            message,
            fence: Fence { term: 1, sequence },
        };
        let after: Vec<_> = (1..=40).map(|sequence| offers.after(&ticket(1, sequence)).as_millis()).collect();
        assert_eq!(after[..8], [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(after.last(), Some(&5000));
        assert_eq!(offers.after(&ticket(2, 9)), offers.after_min, "another one");
        offers.forget(&ticket(1, 41));
        assert_eq!(offers.after(&ticket(1, 42)), offers.after_min);
        for message in 0..COUNTED_MAX as u64 * 2 {
            offers.after(&ticket(message, 1));
        }
        assert!(offers.counts.lock().unwrap().len() <= COUNTED_MAX);
    }
}
