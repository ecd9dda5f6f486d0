//! Whole bodies in and out.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::StreamError;

/// Bytes of a key, which is what comes.
const READ_MAX: usize = 1024;
/// Bytes that `blocking_write_and_flush` takes at once, by its contract.
const WRITE_MAX: usize = 4096;

/// Reads a short text to its end.
pub fn read(request: &IncomingRequest) -> Result<String, String> {
    let broken = || "the body broke off".to_owned();
    let body = request.consume().map_err(|()| broken())?;
    let stream = body.stream().map_err(|()| broken())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_MAX as u64) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return String::from_utf8(bytes).map_err(|_| "it is no text".to_owned()),
            Err(StreamError::LastOperationFailed(_)) => return Err(broken()),
        }
        if bytes.len() > READ_MAX {
            return Err(format!("a key has at most {READ_MAX} bytes"));
        }
    }
}

/// Writes everything, in pieces as streams take them.
pub fn write(bytes: &[u8], piece: impl FnMut(&[u8]) -> Result<(), ()>) -> Result<(), ()> {
    bytes.chunks(WRITE_MAX).try_for_each(piece)
}

/// Answers with everything at once.
pub fn respond(answer: ResponseOutparam, status: u16, media_type: &str, bytes: &[u8]) {
    let headers = Fields::new();
    let _ = headers.set("content-type", &[media_type.as_bytes().to_vec()]);
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(answer, Ok(response));
    if let Ok(stream) = body.write() {
        // A caller that has left cannot be told anything.
        let _ = write(bytes, |chunk| stream.blocking_write_and_flush(chunk).map_err(|_| ()));
    }
    let _ = OutgoingBody::finish(body, None);
}
