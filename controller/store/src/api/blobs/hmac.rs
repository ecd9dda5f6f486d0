//! HMAC-SHA-256 (RFC 2104), and how two of them are compared.

use std::hint::black_box;

use sha2::{Digest as _, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// Of a message under a key.
pub(super) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        let hash: [u8; 32] = Sha256::digest(key).into();
        fill(&mut block, &hash);
    } else {
        fill(&mut block, key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

/// Takes as long wherever they differ.
pub(super) fn same(one: &[u8; 32], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (one, other)| black_box(sum | (one ^ other)));
    one.len() == other.len() && black_box(differences) == 0
}

fn fill(block: &mut [u8; BLOCK], bytes: &[u8]) {
    block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Test cases 1, 2, 3 and 6 of RFC 4231: the last one has a key of more than a block.
    #[test]
    fn the_vectors_of_the_standard_hold() {
        for (key, message, mac) in [
            (
                vec![0x0b; 20],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (vec![0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hmac(&key, message)[..], hex(mac)[..]);
        }
    }

    #[test]
    fn only_the_same_is_the_same() {
        let mac = hmac(b"key", b"message");
        assert!(same(&mac, &mac));
        for at in 0..32 {
            let mut other = mac;
            other[at] ^= 1;
            assert!(!same(&mac, &other), "{at}");
        }
        assert!(!same(&mac, &mac[..31]) && !same(&mac, &[]) && !same(&mac, &[&mac[..], b"x"].concat()));
    }
}
