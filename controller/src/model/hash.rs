//! The hash of the whole state: the sum of its records' hashes, so that a change costs what it changes.

use coracle_proto::id::StateHash;

use super::kept::Encoded;

/// BLAKE3 over key, zero byte (no key has one) and record, cut to 128 bits.
pub(super) fn of(encoded: &Encoded) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&encoded.key);
    hasher.update(&[0]);
    hasher.update(&encoded.value);
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    u128::from_be_bytes(bytes)
}

/// With the hash of one record more.
pub(super) const fn with(state: StateHash, record: u128) -> StateHash {
    StateHash::new(state.get().wrapping_add(record))
}

/// With the hash of one record less.
pub(super) const fn without(state: StateHash, record: u128) -> StateHash {
    StateHash::new(state.get().wrapping_sub(record))
}
