//! Writes the page that shows all photos: for each message, and exactly once. Asked by HTTP it answers with that page.

mod http;
mod page;

mod platform {
    wit_bindgen::generate!({
        path: "../wit",
        world: "album",
        generate_all,
    });
}

use platform::wasi::blobstore::blobstore::get_container;
use platform::wasi::blobstore::types::{IncomingValue, OutgoingValue};
use platform::wasi::keyvalue::store;
use wasip2::http::types::{IncomingRequest, Method, ResponseOutparam};

wasip2::http::proxy::export!(Album);

struct Album;

/// Of `coracle.toml`, as all these names.
const ROWS: &str = "photos";
/// Of values about the page itself.
const PAGES: &str = "pages";
const SITE: &str = "site";
const INDEX: &str = "index.html";
/// How often the page was written.
const WRITTEN: &str = "written";

impl wasip2::exports::http::incoming_handler::Guest for Album {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let result = match request.method() {
            Method::Get => read().map(|page| (200, page)),
            _ => write().map(|count| (200, format!("the page shows {count} photos\n").into_bytes())),
        };
        match result {
            Ok((status, body)) => http::respond(answer, status, "text/html; charset=utf-8", &body),
            Err(error) => http::respond(answer, 500, "text/plain", format!("{error}\n").as_bytes()),
        }
    }
}

fn read() -> Result<Vec<u8>, String> {
    let site = get_container(SITE)?;
    if !site.has_object(INDEX)? {
        return Ok(page::empty());
    }
    IncomingValue::incoming_value_consume_sync(site.get_data(INDEX, 0, u64::MAX)?)
}

/// Two calls at once want one counter: what comes second is told of the conflict, runs again, and sees what the first one saw.
fn write() -> Result<usize, String> {
    let pages = open(PAGES)?;
    let written = pages.get(WRITTEN).map_err(said)?;
    let written: u64 = written.and_then(|text| String::from_utf8(text).ok()?.parse().ok()).unwrap_or(0);
    pages.set(WRITTEN, (written + 1).to_string().as_bytes()).map_err(said)?;

    let rows = rows()?;
    let value = OutgoingValue::new_outgoing_value();
    get_container(SITE)?.write_data(INDEX, &value)?;
    let body = value.outgoing_value_write_body().map_err(|()| "the page cannot be written")?;
    http::write(&page::of(&rows), |chunk| body.blocking_write_and_flush(chunk).map_err(|_| ())).map_err(|()| "the page cannot be written")?;
    drop(body);
    OutgoingValue::finish(value)?;
    Ok(rows.len())
}

/// Each photo with what was noted of it, in the order of their names.
fn rows() -> Result<Vec<(String, String)>, String> {
    let bucket = open(ROWS)?;
    let (mut rows, mut cursor) = (Vec::new(), None);
    loop {
        let found = bucket.list_keys(cursor.as_deref()).map_err(said)?;
        for key in found.keys {
            if let Some(note) = bucket.get(&key).map_err(said)? {
                rows.push((key, String::from_utf8_lossy(&note).into_owned()));
            }
        }
        match found.cursor {
            Some(next) => cursor = Some(next),
            None => return Ok(rows),
        }
    }
}

fn open(name: &str) -> Result<store::Bucket, String> {
    store::open(name).map_err(|error| format!("bucket {name}: {}", said(error)))
}

fn said(error: store::Error) -> String {
    match error {
        store::Error::NoSuchStore => "there is no such bucket".to_owned(),
        store::Error::AccessDenied => "it is not granted".to_owned(),
        store::Error::Other(sentence) => sentence,
    }
}
