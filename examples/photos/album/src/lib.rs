//! Writes the page that shows the newest photos: for each message, which is a photo's key, and exactly once. Asked by HTTP it answers
//! with that page.

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
/// What the page shows: a photo a line, the newest first, each with its key, a tab (which no key has) and its note.
const SHOWN: &str = "shown";
/// So many: the list is one value, which has at most 256 KiB, and a key has at most 1 KiB.
const SHOWN_MAX: usize = 200;

/// A key with what was noted of its photo.
type Line = (String, String);

impl wasip2::exports::http::incoming_handler::Guest for Album {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let result = match request.method() {
            Method::Get => read().map(|page| (200, page)),
            _ => http::read(&request)
                .and_then(|key| write(&key))
                .map(|count| (200, format!("the page shows {count} photos\n").into_bytes())),
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

/// The page with this photo as it is now. Two calls at once want one list: what comes second is told of the conflict, runs again, and
/// sees what the first one wrote.
fn write(key: &str) -> Result<usize, String> {
    let pages = open(PAGES)?;
    let shown = pages.get(SHOWN).map_err(said)?.unwrap_or_default();
    let shown = with(lines(&String::from_utf8_lossy(&shown)), key, note(key)?);
    let list: String = shown.iter().map(|(key, note)| format!("{key}\t{note}\n")).collect();
    pages.set(SHOWN, list.as_bytes()).map_err(said)?;

    let value = OutgoingValue::new_outgoing_value();
    get_container(SITE)?.write_data(INDEX, &value)?;
    let body = value.outgoing_value_write_body().map_err(|()| "the page cannot be written")?;
    http::write(&page::of(&shown), |chunk| body.blocking_write_and_flush(chunk).map_err(|_| ())).map_err(|()| "the page cannot be written")?;
    drop(body);
    OutgoingValue::finish(value)?;
    Ok(shown.len())
}

/// What was noted of a photo; none where it is gone.
fn note(key: &str) -> Result<Option<String>, String> {
    if key.is_empty() {
        return Ok(None);
    }
    let note = open(ROWS)?.get(key).map_err(said)?;
    Ok(note.map(|note| String::from_utf8_lossy(&note).into_owned()))
}

fn lines(text: &str) -> Vec<Line> {
    text.lines().filter_map(|line| line.split_once('\t')).map(|(key, note)| (key.to_owned(), note.to_owned())).collect()
}

/// A new photo stands first, one that is there stays in its place, one that is gone goes.
fn with(mut shown: Vec<Line>, key: &str, note: Option<String>) -> Vec<Line> {
    let place = shown.iter().position(|(known, _)| known == key);
    match (place, note) {
        (Some(place), Some(note)) => shown[place].1 = note,
        (Some(place), None) => drop(shown.remove(place)),
        (None, Some(note)) => shown.insert(0, (key.to_owned(), note)),
        (None, None) => {}
    }
    shown.truncate(SHOWN_MAX);
    shown
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
