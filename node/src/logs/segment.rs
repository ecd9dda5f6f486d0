//! A segment of the ring on disk: frames of length, CRC-32 and one encoded record each.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use coracle_proto::pb::LogFrame;
use prost::Message as _;

/// A line is cut at this many bytes: a reader and the queue hold many of them.
pub(super) const LINE_BYTES_MAX: usize = 16 << 10;
/// A frame is a line, names and ids; more than this is no frame.
const FRAME_BYTES_MAX: usize = LINE_BYTES_MAX + (4 << 10);
/// Length and CRC, little-endian.
const HEAD_BYTES: usize = 8;
/// The first bytes of each segment: what it is, and its format.
pub(super) const MAGIC: &[u8; 8] = b"crclog\0\x01";

/// What stands at a position of a segment.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// A frame, and the bytes that it takes.
    Frame(LogFrame, usize),
    /// The frame is not whole yet, or never will be.
    Incomplete,
    /// These bytes are no frame.
    Damaged,
}

/// Appends a frame.
pub(super) fn encode(frame: &LogFrame, out: &mut BytesMut) {
    let body = frame.encode_to_vec();
    // Bounded by the cut of lines and names.
    out.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.put_u32_le(crc32fast::hash(&body));
    out.put_slice(&body);
}

/// Reads the frame at the beginning of `bytes`.
pub(super) fn decode(bytes: &Bytes) -> Next {
    let mut head = bytes.clone();
    if head.len() < HEAD_BYTES {
        return Next::Incomplete;
    }
    let (length, crc) = (head.get_u32_le() as usize, head.get_u32_le());
    // Zeros are what a file system may leave behind the end after a crash: no frame is empty.
    if length == 0 || length > FRAME_BYTES_MAX {
        return Next::Damaged;
    }
    let Some(body) = bytes.get(HEAD_BYTES..HEAD_BYTES + length) else { return Next::Incomplete };
    if crc32fast::hash(body) != crc {
        return Next::Damaged;
    }
    match LogFrame::decode(body) {
        Ok(frame) => Next::Frame(frame, HEAD_BYTES + length),
        Err(_) => Next::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use coracle_proto::pb::{LogDropped, log_frame};
    use proptest::prelude::*;

    use super::*;

    fn frame(dropped: u64) -> LogFrame {
        let name = "hello".to_owned();
        LogFrame {
            kind: Some(log_frame::Kind::Dropped(LogDropped { dropped, name, ..LogDropped::default() })),
        }
    }

    #[test]
    fn a_torn_frame_is_incomplete_and_a_changed_one_damaged() {
        let mut bytes = BytesMut::new();
        encode(&frame(7), &mut bytes);
        let whole = bytes.freeze();
        assert_eq!(decode(&whole), Next::Frame(frame(7), whole.len()));
        for end in 0..whole.len() {
            assert_eq!(decode(&whole.slice(..end)), Next::Incomplete, "{end}");
        }
        for index in HEAD_BYTES..whole.len() {
            let mut changed = BytesMut::from(&whole[..]);
            changed[index] ^= 1;
            assert_eq!(decode(&changed.freeze()), Next::Damaged, "{index}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&Bytes::from(bytes));
        }
    }
}
