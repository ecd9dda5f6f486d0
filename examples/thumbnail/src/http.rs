//! Whole bodies in and out of `wasi:http`.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::StreamError;

/// Bytes of a picture that is read: more would not fit the function's memory once decoded.
const BODY_MAX: usize = 16 << 20;
/// Bytes that `blocking_write_and_flush` takes at once, by its contract.
const WRITE_MAX: usize = 4096;

/// A status with its message.
pub type Failure = (u16, String);

/// Reads the body to its end.
pub fn read_body(request: &IncomingRequest) -> Result<Vec<u8>, Failure> {
    let broken = || (400, "the body broke off".to_owned());
    let body = request.consume().map_err(|()| broken())?;
    let stream = body.stream().map_err(|()| broken())?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(_)) => return Err(broken()),
        }
        if bytes.len() > BODY_MAX {
            return Err((413, format!("a picture has at most {BODY_MAX} bytes")));
        }
    }
}

/// Answers with everything at once.
pub fn respond(answer: ResponseOutparam, status: u16, media_type: &str, bytes: &[u8]) {
    let headers = Fields::new();
    let _ = headers.set("content-type", &[media_type.as_bytes().to_vec()]);
    let _ = headers.set("content-length", &[bytes.len().to_string().into_bytes()]);
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(answer, Ok(response));
    if let Ok(stream) = body.write() {
        for chunk in bytes.chunks(WRITE_MAX) {
            if stream.blocking_write_and_flush(chunk).is_err() {
                return; // The caller has left.
            }
        }
    }
    let _ = OutgoingBody::finish(body, None);
}
