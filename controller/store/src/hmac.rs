//! HMAC (RFC 2104) with SHA-256, and the comparison that takes as long wherever two differ.

use sha2::{Digest as _, Sha256};

/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;

/// The code of what these parts are one after the other.
pub(crate) fn sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    let hashed: [u8; 32];
    let key = if key.len() > BLOCK {
        hashed = Sha256::digest(key).into();
        &hashed[..]
    } else {
        key
    };
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let padded = |pad: u8| Sha256::new().chain_update(block.map(|byte| byte ^ pad));
    let inner = parts.iter().fold(padded(0x36), |hash, part| hash.chain_update(part)).finalize();
    padded(0x5c).chain_update(inner).finalize().into()
}

/// Whether two codes are the same. How long it takes tells nothing of where they are not.
pub(crate) fn same(one: &[u8; 32], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0_u8, |differ, (one, other)| differ | (one ^ other));
    // The compiler is not to find out that the first difference says it all.
    std::hint::black_box(differ) == 0 && other.len() == one.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(code: [u8; 32]) -> String {
        code.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231, 4.2 to 4.8, without the one that cuts its output.
    #[test]
    fn codes_are_those_of_the_standard() {
        let lower: Vec<u8> = (1..=25).collect();
        let long = [0xaa; 131];
        for (key, data, code) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0xaa; 20],
                &[0xdd; 50],
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            ),
            (&lower, &[0xcd; 50], "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
            (
                &long,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &long,
                b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be \
                  hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
        ] {
            assert_eq!(hex(sha256(key, &[data])), code);
            let (start, rest) = data.split_at(data.len() / 2);
            assert_eq!(hex(sha256(key, &[start, b"", rest])), code, "in parts");
        }
    }

    #[test]
    fn codes_are_the_same_as_a_whole() {
        let code = sha256(b"k", &[]);
        assert!(same(&code, &code));
        for at in [0, 31] {
            let mut other = code;
            other[at] ^= 1;
            assert!(!same(&code, &other), "{at}");
        }
        assert!(!same(&code, &code[..31]) && !same(&code, &[]));
        assert!(!same(&code, &[&code[..], b"x"].concat()));
    }
}
