//! The ETag of a blob, reckoned as its bytes come: SHA-256 of them, or of the digests of its parts.

use std::collections::VecDeque;

use sha2::{Digest as _, Sha256};

use super::link::hex;

/// Of what has come so far.
#[derive(Debug)]
pub(super) struct Etag {
    whole: Sha256,
    /// Of one in parts.
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    /// Bytes that are to come of each.
    left: VecDeque<u64>,
    /// Of the first of them.
    now: Sha256,
    digests: Vec<[u8; 32]>,
}

impl Etag {
    /// In parts of these sizes, where the blob's own says that it came so.
    pub(super) fn new(etag: &str, sizes: impl Iterator<Item = u64>) -> Self {
        let parts = || Parts { left: sizes.collect(), now: Sha256::new(), digests: Vec::new() };
        Self { whole: Sha256::new(), parts: etag.contains('-').then(parts) }
    }

    pub(super) fn add(&mut self, data: &[u8]) {
        match &mut self.parts {
            None => self.whole.update(data),
            Some(parts) => parts.add(data),
        }
    }

    /// None where something is missing.
    pub(super) fn end(self) -> Option<String> {
        match self.parts {
            None => Some(hex(&self.whole.finalize())),
            Some(mut parts) => {
                parts.close();
                parts.left.is_empty().then(|| of_parts(&parts.digests))
            }
        }
    }
}

impl Parts {
    fn add(&mut self, mut data: &[u8]) {
        self.close();
        // What is more than was told is found by the blob's size.
        while let Some(left) = self.left.front_mut().filter(|_| !data.is_empty()) {
            let (now, rest) = data.split_at(data.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
            self.now.update(now);
            *left -= now.len() as u64;
            data = rest;
            self.close();
        }
    }

    /// Ends those that are there.
    fn close(&mut self) {
        while self.left.front() == Some(&0) {
            self.left.pop_front();
            self.digests.push(std::mem::take(&mut self.now).finalize().into());
        }
    }
}

/// As a person says it: with the quotes that a header has for it, or without.
pub(super) fn said(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let good = !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if good {
        Ok(bare.to_owned())
    } else {
        Err("expected an ETag, as 'coracle blob info' shows it".to_owned())
    }
}

/// Of one part, or of what came at once.
pub(super) fn digest(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

/// Of a blob in parts.
pub(super) fn of_parts(digests: &[[u8; 32]]) -> String {
    let mut all = Sha256::new();
    digests.iter().for_each(|digest| all.update(digest));
    format!("{}-{}", hex(&all.finalize()), digests.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_however_the_bytes_come() {
        let data: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let (one, two) = data.split_at(700);
        let expected = of_parts(&[digest(one), digest(two)]);
        for step in [1, 7, 699, 700, 701, 1000] {
            let mut etag = Etag::new("x-2", [700, 300].into_iter());
            data.chunks(step).for_each(|chunk| etag.add(chunk));
            assert_eq!(etag.end().as_deref(), Some(expected.as_str()), "{step}");
            let mut whole = Etag::new("x", [1000].into_iter());
            data.chunks(step).for_each(|chunk| whole.add(chunk));
            assert_eq!(whole.end(), Some(hex(&digest(&data))));
        }
        let mut short = Etag::new("x-2", [700, 300].into_iter());
        short.add(&data[..999]);
        assert_eq!(short.end(), None);
    }

    #[test]
    fn it_is_said_with_its_quotes_or_without() {
        for text in ["abc-2", "\"abc-2\""] {
            assert_eq!(said(text).as_deref(), Ok("abc-2"));
        }
        assert_eq!(said("*").as_deref(), Ok("*"));
        assert!(said("").is_err() && said("\"\"").is_err() && said("\"a").is_err());
    }
}
