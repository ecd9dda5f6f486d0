//! Greets: `GET /hello?name=World` answers `Hello, World!`.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wasip2::http::proxy::export!(Hello);

struct Hello;

impl wasip2::exports::http::incoming_handler::Guest for Hello {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let greeting = format!("Hello, {}!\n", name(&target));

        let headers = Fields::new();
        let _ = headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]);
        let response = OutgoingResponse::new(headers);
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(answer, Ok(response));

        if let Ok(stream) = body.write() {
            // A caller that has left cannot be told anything.
            let _ = stream.blocking_write_and_flush(greeting.as_bytes());
        }
        let _ = OutgoingBody::finish(body, None);
    }
}

/// The `name` of the query, percent-decoded, at most 100 characters.
fn name(target: &str) -> String {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let given = query.split('&').find_map(|pair| pair.strip_prefix("name="));
    let decoded: String = decode(given.unwrap_or("World")).chars().take(100).collect();
    if decoded.is_empty() { "World".into() } else { decoded }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
