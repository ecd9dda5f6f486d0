//! What a blob's writer says of it, and how that is told to its readers.

use std::collections::BTreeMap;

use coracle_proto::status::Code;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::blobs::{Info, METADATA_BYTES_MAX};
use crate::call::CallError;

/// What is behind it is the name of something that is said.
const PREFIX: &str = "coracle-meta-";
const NAME_LENGTH_MAX: usize = 64;
const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What is said of a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Empty where nothing is said.
    pub(super) content_type: String,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Said {
    pub(super) fn new(headers: &HeaderMap) -> Result<Self, CallError> {
        for (name, why) in [
            (CONTENT_RANGE, "a blob is written whole; one is written in parts with '?uploads'"),
            (CONTENT_ENCODING, "is not kept: what is sent is what is read"),
        ] {
            if headers.contains_key(&name) {
                return Err(bad(name.as_str(), why));
            }
        }
        let mut said = Self::default();
        for (name, value) in headers {
            let named = name.as_str().strip_prefix(PREFIX);
            if *name != CONTENT_TYPE && named.is_none() {
                continue;
            }
            let value = value.to_str().map_err(|_| bad(name.as_str(), "has more than visible ASCII"))?;
            let Some(named) = named else {
                if !std::mem::replace(&mut said.content_type, value.to_owned()).is_empty() {
                    return Err(bad(name.as_str(), "stands twice"));
                }
                continue;
            };
            if !is_name(named) {
                let why = format!("a name has 1 to {NAME_LENGTH_MAX} lower-case letters, digits and '-'");
                return Err(bad(name.as_str(), &why));
            }
            if said.metadata.insert(named.to_owned(), value.to_owned()).is_some() {
                return Err(bad(name.as_str(), "stands twice"));
            }
        }
        let bytes = said.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes + said.content_type.len() > METADATA_BYTES_MAX {
            let why = format!("content type and metadata have at most {METADATA_BYTES_MAX} bytes together");
            return Err(bad(&format!("{PREFIX}*"), &why));
        }
        Ok(said)
    }
}

/// Tells a reader. What a function said in words that no header can have is left out.
pub(super) fn tell(headers: &mut HeaderMap, info: &Info) {
    let content_type = HeaderValue::try_from(info.content_type.as_str()).ok().filter(|it| !it.is_empty());
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(UNKNOWN));
    for (name, value) in &info.metadata {
        let name = HeaderName::try_from(format!("{PREFIX}{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value.as_str())) {
            headers.insert(name, value);
        }
    }
}

fn is_name(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(known)
}

fn bad(header: &str, why: &str) -> CallError {
    CallError::new(Code::BadRequest, format!("header '{header}': {why}; nothing was kept"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Result<Said, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        Said::new(&headers).map_err(|error| error.code())
    }

    #[test]
    fn what_is_said_is_kept_and_told() {
        let it =
            said(&[("content-type", "text/csv"), ("coracle-meta-a-1", "x y"), ("accept", "*/*")]).unwrap();
        assert_eq!((it.content_type.as_str(), it.metadata["a-1"].as_str()), ("text/csv", "x y"));
        let mut info = Info { content_type: it.content_type, metadata: it.metadata, ..Info::default() };
        info.metadata.insert("b".to_owned(), "a\nb".to_owned());
        let mut headers = HeaderMap::new();
        tell(&mut headers, &info);
        assert_eq!(
            (headers.len(), &headers["content-type"], &headers["coracle-meta-a-1"]),
            (2, &"text/csv".parse().unwrap(), &"x y".parse().unwrap())
        );
        info.content_type = "a\nb".to_owned();
        tell(&mut headers, &info);
        assert_eq!(headers["content-type"], UNKNOWN);
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let (name, value) = (format!("coracle-meta-{}", "x".repeat(65)), "v".repeat(METADATA_BYTES_MAX));
        for bad in [
            &[("content-type", "a/b"), ("content-type", "c/d")][..],
            &[("coracle-meta-a", "1"), ("coracle-meta-a", "2")],
            &[("coracle-meta-", "1")],
            &[("coracle-meta-a_b", "1")],
            &[("coracle-meta-a", "é")],
            &[(name.as_str(), "1")],
            &[("coracle-meta-a", value.as_str())],
            &[("content-range", "bytes 0-1/2")],
            &[("content-encoding", "gzip")],
        ] {
            assert_eq!(said(bad).err(), Some(Code::BadRequest), "{bad:?}");
        }
    }
}
