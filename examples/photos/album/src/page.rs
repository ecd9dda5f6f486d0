//! The page.

use std::fmt::Write as _;

const HEAD: &str = "<!doctype html><meta charset=utf-8><title>Photos</title>\n<h1>Photos</h1>\n";

/// Without any photo.
pub fn empty() -> Vec<u8> {
    format!("{HEAD}<p>None yet: <code>coracle blob put uploads cat.jpg cat.jpg</code></p>\n").into_bytes()
}

/// A figure for each photo.
pub fn of(rows: &[(String, String)]) -> Vec<u8> {
    let mut page = HEAD.to_owned();
    for (key, note) in rows {
        let (path, name, note) = (path(key), text(key), text(note));
        // A String takes whatever is written to it.
        let _ = writeln!(
            page,
            "<figure><img src=\"/.coracle/blob/thumbs/{path}\" alt=\"\"><figcaption>{name} ({note})</figcaption></figure>"
        );
    }
    page.into_bytes()
}

/// What somebody has named is no markup.
fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A key as a path has it (RFC 3986).
fn path(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    key.bytes().fold(String::new(), |mut path, byte| {
        if plain(byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}
