//! What a blob's writer says of it, and how that is told to its readers.

use std::collections::BTreeMap;

use coracle_proto::status::Code;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::blobs::{CONTENT_TYPE_BYTES_MAX, Info, METADATA_BYTES_MAX};
use crate::call::CallError;

/// What is behind it is the name of something that is said.
const PREFIX: &str = "coracle-meta-";
const NAME_LENGTH_MAX: usize = 64;
/// Headers that are kept in the metadata, each under its own name, and told as they came.
const KEPT: [HeaderName; 3] = [CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LANGUAGE];
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
            let own = KEPT.contains(name).then_some(name.as_str());
            let named = own.or_else(|| name.as_str().strip_prefix(PREFIX));
            if *name != CONTENT_TYPE && named.is_none() {
                continue;
            }
            // As the store will have it: it is told before anything is sent.
            let plain = |value: &&str| value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            let value = value.to_str().ok().filter(plain);
            let value = value.ok_or_else(|| bad(name.as_str(), "has more than visible ASCII and spaces"))?;
            let Some(named) = named else {
                if !std::mem::replace(&mut said.content_type, value.to_owned()).is_empty() {
                    return Err(bad(name.as_str(), "stands twice"));
                }
                if value.len() > CONTENT_TYPE_BYTES_MAX {
                    let why = format!("a content type has at most {CONTENT_TYPE_BYTES_MAX} bytes");
                    return Err(bad(name.as_str(), &why));
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
        let own = KEPT.into_iter().find(|own| own.as_str() == name);
        let name = own.map_or_else(|| HeaderName::try_from(format!("{PREFIX}{name}")), Ok);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value.as_str())) {
            headers.insert(name, value);
        }
    }
}

/// How copies of it may be kept: as its writer said, and unless it did each is asked about before it is used.
pub(super) fn caching(info: &Info) -> HeaderValue {
    let said = info.metadata.get(CACHE_CONTROL.as_str());
    said.and_then(|it| HeaderValue::try_from(it).ok()).unwrap_or(HeaderValue::from_static("no-cache"))
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
    fn what_is_said_of_how_it_is_used_is_told_under_its_own_name() {
        let pairs = [
            ("cache-control", "max-age=60"),
            ("content-disposition", "attachment; filename=\"a.csv\""),
            ("content-language", "de"),
        ];
        let info = Info { metadata: said(&pairs).unwrap().metadata, ..Info::default() };
        let mut headers = HeaderMap::new();
        tell(&mut headers, &info);
        for (name, value) in pairs {
            assert_eq!((info.metadata[name].as_str(), headers[name].to_str().unwrap()), (value, value));
        }
        assert_eq!(
            (caching(&info), caching(&Info::default())),
            ("max-age=60".parse().unwrap(), "no-cache".parse().unwrap())
        );
        assert!(said(&[("cache-control", "a"), ("coracle-meta-cache-control", "b")]).is_err());
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let long = "x".repeat(CONTENT_TYPE_BYTES_MAX + 1);
        let (name, value) = (format!("coracle-meta-{}", "x".repeat(65)), "v".repeat(METADATA_BYTES_MAX));
        for bad in [
            &[("content-type", "a/b"), ("content-type", "c/d")][..],
            &[("coracle-meta-a", "1"), ("coracle-meta-a", "2")],
            &[("coracle-meta-", "1")],
            &[("coracle-meta-a_b", "1")],
            &[("coracle-meta-a", "é")],
            &[("coracle-meta-a", "a\tb")],
            &[("content-type", "a/b;\tc")],
            &[("content-type", long.as_str())],
            &[(name.as_str(), "1")],
            &[("coracle-meta-a", value.as_str())],
            &[("content-range", "bytes 0-1/2")],
            &[("content-encoding", "gzip")],
        ] {
            assert_eq!(said(bad).err(), Some(Code::BadRequest), "{bad:?}");
        }
    }
}
