//! Changes encoded in parts, none of which is larger than a frame may be unless one change alone is.

use bytes::Bytes;
use coracle_proto::frame::{encode_change, encoded_len};
use coracle_proto::pb;

/// Bytes of one part. Each follower has two or three of them in its buffers while it is sent a snapshot: a thousand
/// followers that come back at once must not need a gibibyte.
pub(super) const PART_BYTES_MAX: usize = 16 << 10;

/// A part that is being filled.
#[derive(Debug, Default)]
pub(super) struct Filling(Vec<u8>);

impl Filling {
    /// Adds a change; the part before it, when both together were too large.
    pub(super) fn add(&mut self, change: &pb::Change) -> Option<Bytes> {
        let full = !self.0.is_empty() && self.0.len() + encoded_len(change) > PART_BYTES_MAX;
        let part = full.then(|| std::mem::take(&mut self.0).into());
        encode_change(change, &mut self.0);
        part
    }

    /// The last part; it may be empty.
    pub(super) fn end(self) -> Bytes {
        self.0.into()
    }
}

/// All of them in parts, at least one.
pub(super) fn encoded(changes: impl Iterator<Item = pb::Change>) -> Vec<Bytes> {
    let mut filling = Filling::default();
    let mut parts: Vec<_> = changes.filter_map(|change| filling.add(&change)).collect();
    parts.push(filling.end());
    parts
}
