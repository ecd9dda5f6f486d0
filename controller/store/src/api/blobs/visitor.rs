//! Whether somebody who came by HTTP may do what he asks for: by the bucket's access, or by a signature.

use coracle_proto::pb::BlobVisitor;
use coracle_proto::status::{Code, Refusal};

use crate::hmac::{self, same};
use crate::model::{Access, Place, SigningKey};

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Reading and listing.
    Get,
    /// All steps of an upload.
    Put,
    /// Deleting.
    Delete,
}

impl Method {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Get, Self::Put, Self::Delete].into_iter().find(|method| method.as_str() == text)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// The signature for a blob, or with an empty key for the bucket's list.
pub(super) fn sign(
    signing: &SigningKey,
    method: Method,
    (bucket, key): (&Place, &str),
    expires: u64,
) -> [u8; 32] {
    // Neither names nor keys have a line break.
    let text = format!("{}\n{bucket}\n{key}\n{expires}", method.as_str());
    hmac::sha256(&signing.0, &[text.as_bytes()])
}

/// Refuses what neither the access nor the signature allows.
pub(super) fn check(
    visitor: &BlobVisitor,
    (access, signing): (Access, SigningKey),
    method: Method,
    (bucket, key): (&Place, &str),
    now_ms: u64,
) -> Result<(), Refusal> {
    let refused = |why: &str| {
        let sentence = format!("bucket '{bucket}': {why}");
        Err(Refusal::new(Code::SignatureRefused, sentence))
    };
    // Nobody says one thing and does another.
    if visitor.method != method.as_str() {
        return refused(&format!("this is a {}, and it was asked as another method", method.as_str()));
    }
    match access {
        Access::Open => return Ok(()),
        Access::Read if method == Method::Get => return Ok(()),
        Access::Read | Access::Signed => {}
    }
    if visitor.expires == 0 {
        return refused(&format!("a {} needs a signature here, and there is none", method.as_str()));
    }
    if !same(&sign(&signing, method, (bucket, key), visitor.expires), &visitor.signature) {
        return refused(
            "the signature is of another method, bucket, key or time, or of another bucket's key",
        );
    }
    if visitor.expires.saturating_mul(1000) <= now_ms {
        return refused("the signature was good until a time that is over");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SigningKey = SigningKey([7; 32]);

    fn place() -> Place {
        Place::parse("shop", "a").unwrap()
    }

    fn visitor(method: &str, expires: u64, signature: &[u8]) -> BlobVisitor {
        BlobVisitor { method: method.to_owned(), expires, signature: signature.to_vec().into() }
    }

    #[test]
    fn the_access_says_what_needs_a_signature() {
        let allowed = |access, method: Method| {
            let visitor = visitor(method.as_str(), 0, b"");
            check(&visitor, (access, KEY), method, (&place(), "k"), 5).is_ok()
        };
        let all = [Method::Get, Method::Put, Method::Delete];
        assert_eq!(all.map(|method| allowed(Access::Signed, method)), [false, false, false]);
        assert_eq!(all.map(|method| allowed(Access::Read, method)), [true, false, false]);
        assert_eq!(all.map(|method| allowed(Access::Open, method)), [true, true, true]);
    }

    #[test]
    fn a_signature_is_good_for_what_was_signed_and_until_its_time() {
        let good = sign(&KEY, Method::Put, (&place(), "k"), 100);
        let other = Place::parse("shop", "b").unwrap();
        let check = |visitor: &BlobVisitor, method, bucket: &Place, key: &str, now_ms| {
            check(visitor, (Access::Signed, KEY), method, (bucket, key), now_ms)
                .map_err(|refusal| refusal.code)
        };
        let (refused, signed) = (Err(Code::SignatureRefused), visitor("PUT", 100, &good));
        assert_eq!(check(&signed, Method::Put, &place(), "k", 99_999), Ok(()));
        assert_eq!(check(&signed, Method::Put, &place(), "k", 100_000), refused, "over");
        assert_eq!(check(&signed, Method::Put, &place(), "l", 5), refused, "another key");
        assert_eq!(check(&signed, Method::Put, &other, "k", 5), refused, "another bucket");
        assert_eq!(check(&signed, Method::Get, &place(), "k", 5), refused, "another method");
        assert_eq!(check(&visitor("GET", 100, &good), Method::Get, &place(), "k", 5), refused);
        assert_eq!(
            check(&visitor("PUT", 101, &good), Method::Put, &place(), "k", 5),
            refused,
            "another time"
        );
        assert_eq!(check(&visitor("PUT", 100, b""), Method::Put, &place(), "k", 5), refused);
    }

    /// As anybody can reckon it who has the key: `printf 'GET\nshop/a\nk\n100' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707...`.
    #[test]
    fn what_is_signed_is_written_down() {
        let hex = sign(&KEY, Method::Get, (&place(), "k"), 100).map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(hex, "9e68346b672d9127cf7866b67de5cd5933c319603ccf3036cdaa802941e6717a");
    }
}
