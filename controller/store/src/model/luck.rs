//! What is drawn from an entry's random word: the same on all replicas, another one for each use.

use coracle_proto::id::InvocationId;
use sha2::{Digest as _, Sha256};

/// The id of an invocation that an operation makes by itself: for the message of this number, which no other one has, and the place that it
/// has in what is published. Whoever knows it and its message cannot reckon the others of the entry from it: it is 16 bytes of a SHA-256.
pub(super) fn invocation(random: u64, message: u64, position: u64) -> InvocationId {
    let mut hash = Sha256::new();
    for word in [random, message, position] {
        hash.update(word.to_be_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    let id = hash.into_iter().take(16).fold(0_u128, |id, byte| (id << 8) | u128::from(byte));
    InvocationId::new(id)
}

/// The part of an upload's id that nobody can guess. It is not an invocation's id of the same entry, whatever the message: its text is longer.
pub(super) fn upload(random: u64, sequence: u64) -> u64 {
    let mut hash = Sha256::new_with_prefix(b"coracle upload\n");
    for word in [random, sequence] {
        hash.update(word.to_be_bytes());
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash.into_iter().take(8).fold(0, |id, byte| (id << 8) | u64::from(byte))
}

/// Bits of one word for another use (the finaliser of SplitMix64). Whoever sees them knows the word.
pub(super) const fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_message_and_each_position_has_an_id_of_its_own() {
        let mut seen = BTreeSet::new();
        for random in [0, 1, u64::MAX] {
            for message in 0..50 {
                for position in 0..50 {
                    assert!(
                        seen.insert(invocation(random, message, position)),
                        "{random} {message} {position}"
                    );
                }
            }
        }
        assert_eq!(invocation(7, 8, 9), invocation(7, 8, 9));
    }

    /// The word, a line break, and the numbers 7 and 8 in eight bytes each, as `sha256sum` has them. The word that was drawn cannot be
    /// reckoned from it, as it could be from mixed bits.
    #[test]
    fn an_uploads_id_is_of_a_hash_of_its_own() {
        assert_eq!(upload(7, 8), 0x220c_679c_0292_46de);
        assert_ne!(upload(7, 8), mixed(7 ^ mixed(8)));
        let distinct: BTreeSet<_> = (0..100).map(|sequence| upload(7, sequence)).collect();
        assert_eq!(distinct.len(), 100);
    }

    /// The numbers 7, 8 and 9 in eight bytes each, as `sha256sum` has them: a replica that draws otherwise would be another one.
    #[test]
    fn an_id_is_the_beginning_of_a_hash() {
        assert_eq!(
            invocation(7, 8, 9).to_bytes(),
            [0x7d, 0x92, 0x54, 0x3f, 0xfa, 0xb0, 0xaf, 0xfc, 0x0c, 0xf5, 0xa7, 0xf9, 0xaa, 0x41, 0x7f, 0x8a]
        );
    }
}
