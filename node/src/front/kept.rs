//! What is kept of a request's body, in as few pieces as its size wants: a caller may send it byte by byte.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// A piece below it is copied to the one before: each piece that is kept costs about a hundred bytes, and pins the buffer
/// that it was read into, of 64 KiB at most. A full HTTP/2 frame is kept as it came.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// The beginning of a body.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pieces: Vec<Piece>,
    /// Behind them: what was copied, until it is a piece.
    tail: BytesMut,
}

#[derive(Debug, Clone)]
enum Piece {
    Data(Bytes),
    /// Bounded as heads are; a body has them once.
    Trailers(HeaderMap),
}

impl Kept {
    /// Keeps what was read next.
    pub(super) fn push(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            if data.len() < COPIED_BYTES_MAX {
                self.tail.extend_from_slice(data);
                if self.tail.len() >= COPIED_BYTES_MAX {
                    self.settle();
                }
            } else {
                self.settle();
                self.pieces.push(Piece::Data(data.clone()));
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.settle();
            self.pieces.push(Piece::Trailers(trailers.clone()));
        }
    }

    /// Makes pieces of all of it, for whoever reads it again.
    pub(super) fn settle(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(Piece::Data(std::mem::take(&mut self.tail).freeze()));
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<Frame<Bytes>> {
        Some(match self.pieces.get(at)?.clone() {
            Piece::Data(data) => Frame::data(data),
            Piece::Trailers(trailers) => Frame::trailers(trailers),
        })
    }

    /// How many pieces it has.
    pub(super) const fn len(&self) -> usize {
        self.pieces.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(kept: &Kept) -> (Vec<u8>, bool) {
        let (mut data, mut trailers) = (Vec::new(), false);
        for frame in (0..kept.len()).map(|at| kept.get(at).unwrap()) {
            assert!(!trailers, "something stands behind the trailers");
            trailers = frame.is_trailers();
            data.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        (data, trailers)
    }

    #[test]
    fn a_body_that_comes_byte_by_byte_is_kept_in_few_pieces() {
        let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        let mut kept = Kept::default();
        for byte in &sent {
            kept.push(&Frame::data(Bytes::copy_from_slice(std::slice::from_ref(byte))));
            kept.push(&Frame::data(Bytes::new()));
        }
        kept.settle();
        assert_eq!(kept.len(), sent.len().div_ceil(COPIED_BYTES_MAX));
        assert!(again(&kept) == (sent, false), "it is not what was sent");
    }

    #[test]
    fn pieces_of_all_sizes_keep_their_order() {
        let mut kept = Kept::default();
        let mut sent = Vec::new();
        for (number, size) in [3, 40_000, 1, 1, 16_384, 16_383, 5, 0, 20_000, 7].into_iter().enumerate() {
            let piece = vec![u8::try_from(number).unwrap(); size];
            sent.extend_from_slice(&piece);
            kept.push(&Frame::data(piece.into()));
        }
        kept.push(&Frame::trailers(HeaderMap::new()));
        assert!(again(&kept) == (sent, true), "it is not what was sent");
    }
}
