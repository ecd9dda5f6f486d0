//! `Content-Digest` (RFC 9530): what a sender says that its content comes to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_proto::status::Code;
use http::HeaderMap;
use http::header::TRAILER;

use crate::blobs::hex;
use crate::call::CallError;

const HEADER: &str = "content-digest";

/// The SHA-256 that is said; none where nothing is said in a way that is understood: digests of other kinds are not heeded.
pub(super) fn said(headers: &HeaderMap) -> Result<Option<[u8; 32]>, CallError> {
    let bad = || {
        let said = format!("header '{HEADER}': a SHA-256 is said as 'sha-256=:BASE64:', once");
        CallError::new(Code::BadRequest, said)
    };
    let trailers = headers.get_all(TRAILER).iter().any(|line| {
        line.to_str().is_ok_and(|line| line.split(',').any(|it| it.trim().eq_ignore_ascii_case(HEADER)))
    });
    if trailers {
        let said = format!("'{HEADER}' is heeded in the head of a request, and not behind its content");
        return Err(CallError::new(Code::BadRequest, said));
    }
    let mut found = None;
    for line in headers.get_all(HEADER) {
        for member in line.to_str().map_err(|_| bad())?.split(',') {
            let Some((kind, value)) = member.trim().split_once('=') else { return Err(bad()) };
            if kind.trim() != "sha-256" {
                continue;
            }
            // Parameters may follow.
            let value = value.split(';').next().unwrap_or_default().trim();
            let text = value.strip_prefix(':').and_then(|it| it.strip_suffix(':')).ok_or_else(bad)?;
            let bytes = STANDARD.decode(text).ok().and_then(|it| <[u8; 32]>::try_from(it).ok());
            if found.replace(bytes.ok_or_else(bad)?).is_some() {
                return Err(bad());
            }
        }
    }
    Ok(found)
}

/// Refuses what came to something else.
pub(super) fn check(said: Option<[u8; 32]>, found: [u8; 32]) -> Result<(), CallError> {
    match said {
        Some(said) if said != found => {
            let (said, found) = (hex(&said), hex(&found));
            let why = format!("header '{HEADER}' says {said}, and what came is {found}; nothing was kept");
            Err(CallError::new(Code::DigestMismatch, why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of nothing.
    const EMPTY: &str = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:";

    #[test]
    fn a_digest_is_found_among_others() {
        let said = |value: &str| {
            let headers = [(HEADER.parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            said(&headers).map_err(|error| error.code())
        };
        let empty = said(EMPTY).unwrap().unwrap();
        assert!(hex(&empty).starts_with("e3b0c442"));
        assert_eq!(said(&format!("sha-512=:YQ==:, {EMPTY};a=1")), Ok(Some(empty)));
        assert_eq!(said("md5=:YQ==:"), Ok(None));
        for bad in
            ["", "sha-256", "sha-256=47DEQ", "sha-256=:YQ==:", "sha-256=::", &format!("{EMPTY},{EMPTY}")]
        {
            assert_eq!(said(bad), Err(Code::BadRequest), "{bad}");
        }
        let trailers = [(TRAILER, "x, Content-Digest".parse().unwrap())].into_iter().collect();
        assert_eq!(super::said(&trailers).map_err(|error| error.code()), Err(Code::BadRequest));
        assert!(check(Some(empty), empty).is_ok() && check(None, empty).is_ok());
        assert_eq!(check(Some(empty), [0; 32]).map_err(|error| error.code()), Err(Code::DigestMismatch));
    }
}
