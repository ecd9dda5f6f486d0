//! The hash of the whole state: the sum of its records' hashes, so that a change costs what it changes.

use coracle_proto::id::StateHash;
use coracle_proto::record::Record;

use super::codec;

/// BLAKE3 over key, zero byte (no key has one) and record, cut to 128 bits.
fn of_record(record: &Record) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(record.key().to_string().as_bytes());
    hasher.update(&[0]);
    hasher.update(&codec::record(record));
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    u128::from_be_bytes(bytes)
}

/// With one record more.
pub(super) fn with(hash: StateHash, record: &Record) -> StateHash {
    StateHash::new(hash.get().wrapping_add(of_record(record)))
}

/// With one record less.
pub(super) fn without(hash: StateHash, record: &Record) -> StateHash {
    StateHash::new(hash.get().wrapping_sub(of_record(record)))
}
