//! What an upload is called. It is given once, for ever: chunks that lie under it belong to its blob or to none.

use std::fmt;

use thiserror::Error;

/// An upload's id: the sequence of the group when it was opened, and a random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId {
    sequence: u64,
    random: u64,
}

/// What is no id of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no upload's id: it has 16 bytes, as text 32 digits of 0-9 and a-f")]
pub struct UploadIdError;

impl UploadId {
    /// Of the number that its entry was given.
    #[must_use]
    pub const fn new(sequence: u64, random: u64) -> Self {
        Self { sequence, random }
    }

    /// A state that has reached this number knows it, or it has ended.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.sequence
    }

    /// Its 16 bytes: sorted by when it was opened.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.sequence) << 64) | u128::from(self.random)).to_be_bytes()
    }

    /// From its text, and from no other one that means the same.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, UploadIdError> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return Err(UploadIdError);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| UploadIdError)?;
        Self::try_from(&number.to_be_bytes()[..])
    }
}

impl TryFrom<&[u8]> for UploadId {
    type Error = UploadIdError;

    fn try_from(bytes: &[u8]) -> Result<Self, UploadIdError> {
        let (sequence, random) = bytes.split_first_chunk::<8>().ok_or(UploadIdError)?;
        let random = <[u8; 8]>::try_from(random).map_err(|_| UploadIdError)?;
        Ok(Self { sequence: u64::from_be_bytes(*sequence), random: u64::from_be_bytes(random) })
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.sequence, self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_bytes_and_its_text() {
        let id = UploadId::new(258, u64::MAX - 1);
        assert_eq!(id.to_string(), "0000000000000102fffffffffffffffe");
        assert_eq!(
            (UploadId::parse(&id.to_string()), UploadId::try_from(&id.to_bytes()[..])),
            (Ok(id), Ok(id))
        );
        assert!(UploadId::new(1, u64::MAX).to_bytes() < UploadId::new(2, 0).to_bytes());
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "..", "0102", "0000000000000102FFFFFFFFFFFFFFFE", "+000000000000102fffffffffffffffe"]
        {
            assert_eq!(UploadId::parse(text), Err(UploadIdError), "{text}");
        }
        for bytes in [&[0; 15][..], &[0; 17], &[]] {
            assert_eq!(UploadId::try_from(bytes), Err(UploadIdError));
        }
    }
}
