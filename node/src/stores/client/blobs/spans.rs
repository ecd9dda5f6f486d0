//! Which bytes of which chunks make up a range of a blob.

use std::ops::Range;

use crate::blobs::{CHUNK_BYTES, Part};

/// Bytes of one chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Of its part.
    pub(super) run: u64,
    /// From 0, in its part.
    pub(super) number: u32,
    /// The first of them.
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// The chunks of a range, in order.
#[derive(Debug)]
pub(super) struct Spans {
    parts: std::vec::IntoIter<Part>,
    part: Option<Part>,
    /// Where `part` begins in the blob.
    begins: u64,
    range: Range<u64>,
}

impl Spans {
    pub(super) fn new(parts: Vec<Part>, range: Range<u64>) -> Self {
        let mut parts = parts.into_iter();
        Self { part: parts.next(), parts, begins: 0, range }
    }
}

impl Iterator for Spans {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        while self.range.start < self.range.end {
            let part = self.part.as_ref()?;
            let ends = self.begins.saturating_add(part.bytes);
            if ends <= self.range.start {
                self.begins = ends;
                self.part = self.parts.next();
                continue;
            }
            let within = self.range.start - self.begins;
            let (number, offset) = (within / CHUNK_BYTES, within % CHUNK_BYTES);
            let left = (ends.min(self.range.end) - self.range.start).min(CHUNK_BYTES - offset);
            self.range.start += left;
            // A blob of 5 GiB has 1,280 chunks.
            let number = u32::try_from(number).ok()?;
            return Some(Span { run: part.run, number, offset, bytes: left });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(sizes: &[u64]) -> Vec<Part> {
        let part = |(number, bytes): (u32, &u64)| Part {
            number,
            run: number.into(),
            bytes: *bytes,
            digest: "".into(),
        };
        (1..).zip(sizes).map(part).collect()
    }

    fn spans(sizes: &[u64], range: Range<u64>) -> Vec<(u64, u32, u64, u64)> {
        Spans::new(parts(sizes), range).map(|it| (it.run, it.number, it.offset, it.bytes)).collect()
    }

    #[test]
    fn a_range_is_found_in_its_chunks() {
        const C: u64 = CHUNK_BYTES;
        assert_eq!(spans(&[10], 0..10), [(1, 0, 0, 10)]);
        assert_eq!(spans(&[10], 3..5), [(1, 0, 3, 2)]);
        assert_eq!(spans(&[10], 3..3), []);
        assert_eq!(spans(&[2 * C], 0..2 * C), [(1, 0, 0, C), (1, 1, 0, C)]);
        assert_eq!(spans(&[C + 1, 5, C], C..C + 7), [(1, 1, 0, 1), (2, 0, 0, 5), (3, 0, 0, 1)]);
        assert_eq!(spans(&[C, C], C + 4..C + 5), [(2, 0, 4, 1)]);
        assert_eq!(spans(&[3], 0..9), [(1, 0, 0, 3)], "no more than there is");
    }

    proptest! {
        #[test]
        fn each_byte_is_there_once_and_in_order(
            sizes in prop::collection::vec(1..3 * CHUNK_BYTES, 1..6), from in 0_u64..1 << 25, bytes in 0_u64..1 << 25,
        ) {
            let all: u64 = sizes.iter().sum();
            let range = from.min(all)..from.saturating_add(bytes).min(all);
            let mut at = range.start;
            for span in Spans::new(parts(&sizes), range.clone()) {
                let before: u64 = sizes.iter().take(span.run as usize - 1).sum();
                prop_assert_eq!(before + u64::from(span.number) * CHUNK_BYTES + span.offset, at);
                prop_assert!(span.bytes > 0 && span.offset + span.bytes <= CHUNK_BYTES);
                at += span.bytes;
            }
            prop_assert_eq!(at, range.end.max(range.start));
        }
    }
}
