//! What of a log was shown, so that a stream that broke goes on without a gap and without a repetition: pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The newest lines of each node. A node tells its lines nearly in the order of their times: its calls write at once,
/// and its clock may be set back. So only what a new stream repeats is left out, never a line of one that goes on.
#[derive(Debug, Default)]
pub(super) struct Shown {
    nodes: BTreeMap<u64, Last>,
}

#[derive(Debug, Default)]
struct Last {
    /// The greatest so far.
    time_ms: u64,
    /// Lines of that time that were shown.
    shown: u32,
    /// A new stream has not come to the end of what was shown yet.
    repeating: bool,
    /// Lines of that time that it has told again.
    repeated: u32,
}

impl Shown {
    /// Whether a line was not shown yet; from now on it was.
    pub(super) fn is_new(&mut self, node: u64, time_ms: u64) -> bool {
        let last = self.nodes.entry(node).or_default();
        if last.repeating {
            if time_ms < last.time_ms {
                return false;
            }
            if time_ms == last.time_ms && last.repeated < last.shown {
                last.repeated += 1;
                return false;
            }
            last.repeating = false;
        }
        match time_ms.cmp(&last.time_ms) {
            Ordering::Greater => (last.time_ms, last.shown) = (time_ms, 1),
            Ordering::Equal => last.shown += 1,
            Ordering::Less => {}
        }
        true
    }

    /// A new stream begins: from when on it must tell, if anything was shown.
    pub(super) fn again(&mut self) -> Option<u64> {
        for last in self.nodes.values_mut() {
            (last.repeating, last.repeated) = (true, 0);
        }
        self.nodes.values().map(|last| last.time_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_goes_on_loses_no_line_to_the_order_of_its_times() {
        let mut shown = Shown::default();
        for time in [101, 100, 101, 7] {
            assert!(shown.is_new(1, time), "{time}");
        }
    }

    #[test]
    fn a_stream_that_broke_goes_on_where_each_node_was() {
        let mut shown = Shown::default();
        assert_eq!(shown.again(), None);
        for (node, time) in [(1, 10), (2, 5), (1, 20), (1, 20)] {
            assert!(shown.is_new(node, time), "{node} at {time}");
        }
        assert_eq!(
            shown.again(),
            Some(5),
            "node 2 was slower: what it did not tell yet is older than node 1's last"
        );
        for (node, time, new) in [
            (2, 5, false),
            (2, 7, true),
            (1, 10, false),
            (1, 20, false),
            (1, 20, false),
            (1, 20, true),
            (3, 6, true),
        ] {
            assert_eq!(shown.is_new(node, time), new, "{node} at {time}");
        }
    }
}
