//! What the query of a request about blobs says. Parameters that are not known are nobody's business.

use coracle_proto::status::Code;

use super::address::decoded;
use crate::blobs::{PARTS_MAX, Signature, UploadId, from_hex};
use crate::call::CallError;

/// Blobs of a page.
const PAGE_MAX: u32 = 1000;

/// The parameters that are known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// An upload in parts is to be begun.
    pub(super) uploads: bool,
    pub(super) upload: Option<UploadId>,
    pub(super) part: Option<u32>,
    pub(super) prefix: String,
    pub(super) after: String,
    /// Zero: as many as a page has.
    pub(super) limit: u32,
    pub(super) signature: Option<Signature>,
}

impl Query {
    pub(super) fn new(text: &str) -> Result<Self, CallError> {
        let (mut query, mut seen) = (Self::default(), Vec::new());
        let (mut expires, mut mac) = (None, None);
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (plain(name), plain(value)) else {
                return Err(bad(format!("'{pair}' is not percent-encoded UTF-8")));
            };
            match name.as_str() {
                "uploads" => query.uploads = true,
                "uploadId" => query.upload = Some(upload(&value)?),
                "partNumber" => query.part = Some(number(&name, &value, PARTS_MAX)?),
                "prefix" => query.prefix = value,
                "after" => query.after = value,
                "limit" => query.limit = number(&name, &value, PAGE_MAX)?,
                "expires" => expires = Some(value),
                "signature" => mac = Some(value),
                _ => continue,
            }
            if seen.contains(&name) {
                return Err(bad(format!("'{name}' stands twice")));
            }
            seen.push(name);
        }
        query.signature = signature(expires, mac)?;
        match (query.uploads, query.upload, query.part) {
            (true, Some(_), _) => {
                Err(bad("'uploads' begins an upload, and 'uploadId' names one that is open".to_owned()))
            }
            (_, None, Some(_)) => Err(bad("'partNumber' needs 'uploadId'".to_owned())),
            _ => Ok(query),
        }
    }
}

fn plain(text: &str) -> Option<String> {
    String::from_utf8(decoded(text, true)?).ok()
}

fn bad(why: String) -> CallError {
    CallError::new(Code::BadRequest, format!("the query: {why}"))
}

fn upload(text: &str) -> Result<UploadId, CallError> {
    let none = || {
        CallError::new(
            Code::UploadNotFound,
            format!("'{text}' is no id of an upload: it has 32 hexadecimal digits"),
        )
    };
    from_hex(text).ok_or_else(none)
}

fn number(name: &str, text: &str, max: u32) -> Result<u32, CallError> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| bad(format!("'{name}' is a number from 1 to {max}, not '{text}'")))
}

/// Both, or neither.
fn signature(expires: Option<String>, mac: Option<String>) -> Result<Option<Signature>, CallError> {
    let refused = |why: &str| Err(CallError::new(Code::SignatureRefused, why));
    let (expires, mac) = match (expires, mac) {
        (None, None) => return Ok(None),
        (Some(expires), Some(mac)) => (expires, mac),
        _ => return refused("a signature needs both 'expires' and 'signature' in the query"),
    };
    match (expires.parse::<u64>().ok().filter(|expires| *expires > 0), from_hex(&mac)) {
        (Some(expires), Some(mac)) => Ok(Some(Signature { expires, mac })),
        (None, _) => refused("'expires' is the Unix second at which the signature ends to be good"),
        (_, None) => refused("'signature' has 64 hexadecimal digits"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_once_and_others_left() {
        let id = "00".repeat(16);
        let query = Query::new(&format!("uploadId={id}&partNumber=7&x-id=PutObject&&")).unwrap();
        assert_eq!(query, Query { upload: Some([0; 16]), part: Some(7), ..Query::default() });
        let query = Query::new("prefix=a%2Fb+c&after=%C3%A9&limit=5&uploads").unwrap();
        assert_eq!((query.prefix.as_str(), query.after.as_str(), query.limit), ("a/b c", "é", 5));
        assert!(query.uploads && query.signature.is_none());
        let mac = "ab".repeat(32);
        let query = Query::new(&format!("expires=17&signature={mac}")).unwrap();
        assert_eq!(query.signature, Some(Signature { expires: 17, mac: [0xab; 32] }));
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let (id, mac) = ("00".repeat(16), "ab".repeat(32));
        for (query, code) in [
            ("partNumber=1".to_owned(), Code::BadRequest),
            (format!("uploads&uploadId={id}"), Code::BadRequest),
            (format!("uploadId={id}&partNumber=0"), Code::BadRequest),
            (format!("uploadId={id}&partNumber=10001"), Code::BadRequest),
            ("prefix=a&prefix=b".to_owned(), Code::BadRequest),
            ("prefix=%zz".to_owned(), Code::BadRequest),
            ("prefix=%ff".to_owned(), Code::BadRequest),
            ("limit=1001".to_owned(), Code::BadRequest),
            ("limit=-1".to_owned(), Code::BadRequest),
            ("uploadId=xyz".to_owned(), Code::UploadNotFound),
            ("expires=5".to_owned(), Code::SignatureRefused),
            (format!("signature={mac}"), Code::SignatureRefused),
            (format!("expires=0&signature={mac}"), Code::SignatureRefused),
            (format!("expires=5&signature={mac}0"), Code::SignatureRefused),
        ] {
            assert_eq!(Query::new(&query).map_err(|error| error.code()).err(), Some(code), "{query}");
        }
    }
}
