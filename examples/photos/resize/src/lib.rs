//! For each photo that is uploaded: a small one beside it, a note about it, and a message to whoever makes the page. For each that is
//! deleted all of that goes. All of it happens with the end of the call, or nothing does.

mod http;
mod picture;

mod platform {
    wit_bindgen::generate!({
        path: "../wit",
        world: "resize",
        generate_all,
    });
}

use platform::wasi::blobstore::blobstore::get_container;
use platform::wasi::blobstore::types::{IncomingValue, OutgoingValue};
use platform::wasi::keyvalue::store;
use platform::wasmcloud::messaging::consumer::publish;
use platform::wasmcloud::messaging::types::BrokerMessage;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

wasip2::http::proxy::export!(Resize);

struct Resize;

/// Of `coracle.toml`, as all these names.
const UPLOADS: &str = "uploads";
const THUMBS: &str = "thumbs";
const ROWS: &str = "photos";
const CHANGED: &str = "changed";

impl wasip2::exports::http::incoming_handler::Guest for Resize {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        // The event's subject is the key.
        let subject = request.headers().get("ce-subject").into_iter().next();
        let key = subject.and_then(|value| String::from_utf8(value).ok()).map(|value| picture::decode(&value));
        let result = key.ok_or((400, "this is called for events of a bucket".to_owned()));
        match result.and_then(|key| resize(&key)) {
            Ok(note) => http::respond(answer, 200, "text/plain", format!("{note}\n").as_bytes()),
            Err((status, error)) => http::respond(answer, status, "text/plain", format!("{error}\n").as_bytes()),
        }
    }
}

/// A status with what to say.
type Failure = (u16, String);

/// As the bucket is now, whatever the event was: events of one key may come in any order.
fn resize(key: &str) -> Result<String, Failure> {
    let failed = |error: String| (500, error);
    let sentence = match photo(key).map_err(failed)? {
        Ok((bytes, small)) => {
            put(key, &small.bytes).map_err(failed)?;
            let note = format!("{} x {}, {bytes} bytes", small.width, small.height);
            rows()?.set(key, note.as_bytes()).map_err(|error| (500, format!("{error:?}")))?;
            format!("{key}: {note}")
        }
        // What is no photo is none at the next attempt either.
        Err(why) => {
            let thumbs = get_container(THUMBS).map_err(failed)?;
            if thumbs.has_object(key).map_err(failed)? {
                thumbs.delete_object(key).map_err(failed)?;
            }
            rows()?.delete(key).map_err(|error| (500, format!("{error:?}")))?;
            format!("{key} {why}")
        }
    };
    let message = BrokerMessage { subject: CHANGED.to_owned(), body: key.as_bytes().to_vec(), reply_to: None };
    publish(&message).map_err(failed)?;
    Ok(sentence)
}

/// The size of what is there, and a small one of it; or why there is none.
fn photo(key: &str) -> Result<Result<(usize, picture::Small), String>, String> {
    let uploads = get_container(UPLOADS)?;
    if !uploads.has_object(key)? {
        return Ok(Err("is gone".to_owned()));
    }
    let value = uploads.get_data(key, 0, u64::MAX)?;
    if value.size() > picture::BYTES_MAX {
        return Ok(Err(format!("is too large: a photo has at most {} MiB", picture::BYTES_MAX >> 20)));
    }
    let bytes = IncomingValue::incoming_value_consume_sync(value)?;
    Ok(picture::smaller(&bytes).map(|small| (bytes.len(), small)))
}

fn rows() -> Result<store::Bucket, Failure> {
    store::open(ROWS).map_err(|error| (500, format!("{error:?}")))
}

fn put(key: &str, bytes: &[u8]) -> Result<(), String> {
    let value = OutgoingValue::new_outgoing_value();
    get_container(THUMBS)?.write_data(key, &value)?;
    let body = value.outgoing_value_write_body().map_err(|()| "the small photo cannot be written")?;
    http::write(bytes, |chunk| body.blocking_write_and_flush(chunk).map_err(|_| ())).map_err(|()| "the small photo cannot be written")?;
    drop(body);
    OutgoingValue::finish(value)
}
