//! Resizes and filters pictures: `POST /thumbnail?width=320&filter=gray` with a JPEG or PNG as the body
//! answers with the same format, at most `width` pixels wide.

mod edit;
mod http;

use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

wasip2::http::proxy::export!(Thumbnail);

struct Thumbnail;

impl wasip2::exports::http::incoming_handler::Guest for Thumbnail {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let result = match request.method() {
            Method::Post | Method::Put => http::read_body(&request).and_then(|body| edit::edit(&target, &body)),
            _ => Err((405, "send a JPEG or PNG with POST".to_owned())),
        };
        match result {
            Ok(picture) => http::respond(answer, 200, picture.media_type, &picture.bytes),
            Err((status, message)) => http::respond(answer, status, "text/plain", format!("{message}\n").as_bytes()),
        }
    }
}
