//! Which blob, or which bucket, a path names.

use coracle_proto::id::{FunctionName, NAME_LENGTH_MAX, Namespace};
use coracle_proto::status::Code;

use crate::blobs::{At, KEY_BYTES_MAX};
use crate::call::CallError;
use crate::values::Bucket;

/// What is below `/.coracle/blob`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::front) enum Address {
    /// Nothing is named: how blobs are asked for.
    Usage,
    /// The blobs of a bucket.
    Bucket(Bucket),
    /// One blob.
    Blob(At),
}

impl Address {
    /// Of `/BUCKET/KEY` or `/@NAMESPACE/BUCKET/KEY`, as it came; none where it is neither.
    pub(in crate::front) fn parse(path: &str) -> Option<Result<Self, CallError>> {
        if path.is_empty() || path == "/" {
            return Some(Ok(Self::Usage));
        }
        let path = path.strip_prefix('/')?;
        let (namespace, path) = match path.strip_prefix('@').or_else(|| path.strip_prefix("%40")) {
            Some(path) => path.split_once('/')?,
            None => (Namespace::DEFAULT, path),
        };
        let (name, key) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            return None;
        }
        let named = namespace.parse().ok().zip(name.parse::<FunctionName>().ok());
        let Some((namespace, bucket)) = named else {
            let said = format!(
                "'{namespace}/{name}': no bucket can have that name: namespace and name have 1 to {NAME_LENGTH_MAX} \
                 lower-case letters, digits and '-', and begin with a letter"
            );
            return Some(Err(CallError::new(Code::BucketNotFound, said)));
        };
        let bucket = Bucket { namespace, name: bucket.to_string() };
        if key.is_empty() {
            return Some(Ok(Self::Bucket(bucket)));
        }
        Some(self::key(key).map(|key| Self::Blob(At { bucket, key })))
    }

    pub(super) const fn bucket(&self) -> Option<&Bucket> {
        match self {
            Self::Usage => None,
            Self::Bucket(bucket) | Self::Blob(At { bucket, .. }) => Some(bucket),
        }
    }
}

/// A key, decoded once. Browsers and proxies resolve the segments `.` and `..`, also in the form `%2e`, so a key that has one
/// would come as another: such keys have no address, and nothing here takes a key for a path.
fn key(text: &str) -> Result<String, CallError> {
    let bad = |why: &str| CallError::new(Code::BadRequest, format!("the blob's key {why}"));
    let bytes =
        decoded(text, false).ok_or_else(|| bad("has a '%' without two hexadecimal digits behind it"))?;
    let key = String::from_utf8(bytes).map_err(|_| bad("is no UTF-8"))?;
    if key.len() > KEY_BYTES_MAX {
        return Err(bad(&format!("has {} bytes, and at most {KEY_BYTES_MAX} are possible", key.len())));
    }
    if key.chars().any(char::is_control) {
        return Err(bad("has a control character"));
    }
    if key.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(bad(
            "has a segment '.' or '..', which browsers and proxies resolve: it cannot be named in a URL",
        ));
    }
    Ok(key)
}

/// Percent-decoded; in a query `+` is a space.
pub(super) fn decoded(text: &str, query: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if query => b' ',
            _ => byte,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Option<Result<String, Code>> {
        let shown = |it| match it {
            Address::Usage => "usage".to_owned(),
            Address::Bucket(it) => format!("{} {}", it.namespace, it.name),
            Address::Blob(it) => format!("{} {} {}", it.bucket.namespace, it.bucket.name, it.key),
        };
        Address::parse(path).map(|it| it.map(shown).map_err(|error| error.code()))
    }

    #[test]
    fn a_path_names_a_bucket_or_a_blob() {
        for (path, expected) in [
            ("", "usage"),
            ("/", "usage"),
            ("/b", "default b"),
            ("/b/", "default b"),
            ("/@shop/b/", "shop b"),
            ("/b/k", "default b k"),
            ("/%40shop/b/a/b", "shop b a/b"),
            ("/b/a%20b%2Fc+d", "default b a b/c+d"),
            ("/b/%25%32%30", "default b %20"),
            ("/b/%2520", "default b %20"),
            ("/b//a/", "default b /a/"),
            ("/b/...", "default b ..."),
            ("/b/%C3%A9é", "default b éé"),
            ("/b/@shop", "default b @shop"),
        ] {
            assert_eq!(parsed(path), Some(Ok(expected.to_owned())), "{path}");
        }
        for none in ["x", "//k", "/@shop", "/@shop/", "/@shop//k"] {
            assert_eq!(parsed(none), None, "{none}");
        }
        for bad in ["/B/k", "/b_c/k", "/@Shop/b/k", "/@/b/k", "/../k", "/./k", "/b%2Fk"] {
            assert_eq!(parsed(bad), Some(Err(Code::BucketNotFound)), "{bad}");
        }
    }

    #[test]
    fn keys_that_cannot_be_named_are_refused() {
        let long = format!("/b/{}", "é".repeat(KEY_BYTES_MAX / 2));
        assert!(parsed(&long).unwrap().is_ok());
        for bad in [
            "/b/..",
            "/b/.",
            "/b/../c",
            "/b/a/..",
            "/b/a/./b",
            "/b/%2e%2E",
            "/b/a%2F..%2Fb",
            "/b/a%00",
            "/b/%0a",
            "/b/%7f",
            "/b/%c2%85",
            "/b/%",
            "/b/%4",
            "/b/%zz",
            "/b/%+1",
            "/b/%ff",
            &format!("{long}x"),
        ] {
            assert_eq!(parsed(bad), Some(Err(Code::BadRequest)), "{bad}");
        }
    }
}
