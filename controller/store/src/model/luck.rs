//! What is drawn from an entry's random word: the same on all replicas, another one for each use.

use coracle_proto::id::InvocationId;

/// The id of an invocation that an operation makes by itself: for the message of this number, which no other one has, and the place that it
/// has in what is published.
pub(super) const fn invocation(random: u64, message: u64, position: u64) -> InvocationId {
    let high = mixed(random ^ mixed(message));
    let low = mixed(mixed(message.rotate_left(32) ^ position) ^ random.rotate_left(17));
    InvocationId::new(((high as u128) << 64) | low as u128)
}

/// Bits of one word for another use (the finaliser of SplitMix64).
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
}
