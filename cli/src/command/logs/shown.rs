//! What of a log was shown, so that a stream that broke goes on without a gap and without a repetition: pure.

use std::collections::BTreeMap;

/// The last lines of each node. Each node tells its lines in the order of their times; those of several nodes mix.
#[derive(Debug, Default)]
pub(super) struct Shown {
    nodes: BTreeMap<u64, Last>,
}

#[derive(Debug, Default)]
struct Last {
    time_ms: u64,
    /// Lines of that time that were shown.
    shown: u32,
    /// Of those, the ones that this stream has told again.
    repeated: u32,
}

impl Shown {
    /// Whether a line was not shown yet; from now on it was.
    pub(super) fn is_new(&mut self, node: u64, time_ms: u64) -> bool {
        let last = self.nodes.entry(node).or_default();
        if time_ms < last.time_ms {
            return false;
        }
        if time_ms > last.time_ms {
            *last = Last { time_ms, ..Last::default() };
        }
        if last.repeated < last.shown {
            last.repeated += 1;
            return false;
        }
        (last.shown, last.repeated) = (last.shown + 1, last.repeated + 1);
        true
    }

    /// A new stream begins: from when on it must tell, if anything was shown.
    pub(super) fn again(&mut self) -> Option<u64> {
        self.nodes.values_mut().for_each(|last| last.repeated = 0);
        self.nodes.values().map(|last| last.time_ms).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
