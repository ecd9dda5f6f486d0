//! The frame of every stored record: format version, CRC-32 over key and body, body.
//!
//! The key is part of the checksum, so that a record that turns up under another key is found out.

use coracle_proto::codec::DecodeError;
use thiserror::Error;

/// The format that this build writes. A newer one is refused, never guessed at.
pub(crate) const FORMAT: u8 = 1;

const HEAD: usize = 5;

/// A record that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    #[error("{len} bytes are no record")]
    Short { len: usize },
    #[error("record format is {found}, this build reads {FORMAT}")]
    Format { found: u8 },
    #[error("checksum is {found:08x}, expected {expected:08x}")]
    Checksum { expected: u32, found: u32 },
    #[error("{0}")]
    Message(#[from] prost::DecodeError),
    #[error("{0}")]
    Field(#[from] DecodeError),
}

impl From<FrameError> for std::io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

pub(crate) fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

/// Frames a body that is stored under a key.
pub(crate) fn seal(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + body.len());
    record.push(FORMAT);
    record.extend_from_slice(&checksum(key, body).to_le_bytes());
    record.extend_from_slice(body);
    record
}

/// The body of a record that was stored under this key.
pub(crate) fn unseal<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], FrameError> {
    let (head, body) = record.split_first_chunk::<HEAD>().ok_or(FrameError::Short { len: record.len() })?;
    let [format, sum @ ..] = *head;
    if format != FORMAT {
        return Err(FrameError::Format { found: format });
    }
    let (expected, found) = (u32::from_le_bytes(sum), checksum(key, body));
    if expected != found {
        return Err(FrameError::Checksum { expected, found });
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_a_wrong_key_are_found() {
        let record = seal(b"key", b"body");
        assert_eq!(unseal(b"key", &record), Ok(&b"body"[..]));
        assert!(matches!(unseal(b"kez", &record), Err(FrameError::Checksum { .. })));
        for byte in 0..record.len() {
            for bit in 0..8 {
                let mut damaged = record.clone();
                damaged[byte] ^= 1 << bit;
                assert!(unseal(b"key", &damaged).is_err(), "byte {byte} bit {bit}");
            }
        }
        assert_eq!(unseal(b"key", &record[..4]), Err(FrameError::Short { len: 4 }));
    }
}
