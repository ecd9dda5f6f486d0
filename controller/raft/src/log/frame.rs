//! Frames: how bytes stand in a segment, so that a torn tail, a flipped bit and a lost part are told apart.
//!
//! ```text
//! 0   magic     b"CWL1"
//! 4   length    of the body, u32 (all numbers little-endian)
//! 8   position  of this frame in the whole log, u64
//! 16  durable   up to here the log was synced when this frame was written, u64
//! 24  previous  checksum of the frame before, u32
//! 28  checksum  CRC-32 over the 28 bytes before and the body, u32
//! 32  body, then zeros up to a multiple of 8
//! ```
//! A frame says where it stands, so that it can be recognised behind one that cannot be read; and what had been
//! synced before it: if that is more than what can be read, something that was acknowledged is gone.

use super::SEGMENT_BYTES;

pub(crate) const HEAD: usize = 32;
const MAGIC: [u8; 4] = *b"CWL1";
const ALIGN: usize = 8;

/// What stands before a frame's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: u32,
    pub(crate) position: u64,
    pub(crate) durable: u64,
    pub(crate) previous: u32,
    pub(crate) checksum: u32,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (position, rest) = rest.split_first_chunk::<8>()?;
        let (durable, rest) = rest.split_first_chunk::<8>()?;
        let (previous, rest) = rest.split_first_chunk::<4>()?;
        let (checksum, _) = rest.split_first_chunk::<4>()?;
        (*magic == MAGIC).then_some(Self {
            length: u32::from_le_bytes(*length),
            position: u64::from_le_bytes(*position),
            durable: u64::from_le_bytes(*durable),
            previous: u32::from_le_bytes(*previous),
            checksum: u32::from_le_bytes(*checksum),
        })
    }
}

/// Bytes that a frame with such a body takes.
pub(crate) const fn span(body: usize) -> usize {
    (HEAD + body).next_multiple_of(ALIGN)
}

/// The length of the body that a head announces, if it is a head and the frame fits in a segment.
pub(crate) fn length(head: &[u8]) -> Option<usize> {
    let length = Head::parse(head)?.length as usize;
    (span(length) as u64 <= SEGMENT_BYTES).then_some(length)
}

/// Makes a frame of `bytes`, which begin with [`HEAD`] bytes to be filled and go on with the body. Gives its checksum.
pub(crate) fn seal(bytes: &mut Vec<u8>, position: u64, durable: u64, previous: u32) -> u32 {
    let length = u32::try_from(bytes.len().saturating_sub(HEAD)).unwrap_or(u32::MAX);
    bytes.resize(span(length as usize), 0);
    let fields = MAGIC.into_iter().chain(length.to_le_bytes()).chain(position.to_le_bytes());
    let fields = fields.chain(durable.to_le_bytes()).chain(previous.to_le_bytes());
    bytes.iter_mut().zip(fields).for_each(|(to, byte)| *to = byte);
    let sum = checksum(bytes, length as usize);
    bytes.iter_mut().skip(HEAD - 4).zip(sum.to_le_bytes()).for_each(|(to, byte)| *to = byte);
    sum
}

/// A frame that stands at the beginning of `bytes` and is whole: its head and its body.
pub(crate) fn read(bytes: &[u8], position: u64) -> Option<(Head, &[u8])> {
    let head = Head::parse(bytes)?;
    let body = bytes.get(HEAD..HEAD + head.length as usize)?;
    (head.position == position && head.checksum == checksum(bytes, head.length as usize))
        .then_some((head, body))
}

fn checksum(frame: &[u8], length: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(frame.get(..HEAD - 4).unwrap_or_default());
    hasher.update(frame.get(HEAD..HEAD + length).unwrap_or_default());
    hasher.finalize()
}

/// Whole frames that stand anywhere behind `from`: what is behind a place that cannot be read.
pub(crate) fn behind(bytes: &[u8], from: usize, base: u64) -> impl Iterator<Item = Head> + '_ {
    let places = (from.next_multiple_of(ALIGN)..bytes.len()).step_by(ALIGN);
    places.filter_map(move |at| read(bytes.get(at..)?, base + at as u64).map(|(head, _)| head))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8], position: u64) -> Vec<u8> {
        let mut bytes = [&[0; HEAD], body].concat();
        seal(&mut bytes, position, 7, 9);
        bytes
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let whole = frame(b"a body", 64);
        let (head, body) = read(&whole, 64).unwrap();
        assert_eq!((body, head.durable, head.previous, whole.len()), (&b"a body"[..], 7, 9, 40));
        for byte in 0..HEAD + 6 {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[byte] ^= 1 << bit;
                assert_eq!(read(&flipped, 64), None, "byte {byte} bit {bit}");
            }
        }
        assert_eq!(read(&whole, 72), None, "it stands elsewhere");
        assert_eq!(read(&whole[..36], 64), None, "it is cut off");
    }

    #[test]
    fn a_frame_is_found_behind_what_cannot_be_read() {
        let mut bytes = [frame(b"first", 800), frame(b"second", 840), vec![0; 64]].concat();
        bytes[HEAD] ^= 1;
        assert_eq!(read(&bytes, 800), None);
        let found: Vec<_> = behind(&bytes, 0, 800).map(|head| head.position).collect();
        assert_eq!(found, [840]);
        assert_eq!(behind(&bytes, 48, 800).count(), 0);
    }
}
