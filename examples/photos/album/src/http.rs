//! Whole bodies out.

use wasip2::http::types::{Fields, OutgoingBody, OutgoingResponse, ResponseOutparam};

/// Bytes that `blocking_write_and_flush` takes at once, by its contract.
const WRITE_MAX: usize = 4096;

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
