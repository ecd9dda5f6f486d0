//! Of which type a blob is whose writer cannot say it: by the end of its key.

/// Ends of names, without the dot, and their types, as IANA has them.
const KINDS: [(&str, &str); 22] = [
    ("avif", "image/avif"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// The type; empty where the key does not tell.
pub(super) fn of(key: &str) -> &'static str {
    let name = key.rsplit('/').next().unwrap_or_default();
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    KINDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(end)).map_or("", |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_key_tells() {
        for (key, kind) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a.b/photo.1.JPG", "image/jpeg"),
            (".json", "application/json"),
            ("a.html/b", ""),
            ("html", ""),
            ("a.", ""),
            ("a.exe", ""),
        ] {
            assert_eq!(of(key), kind, "{key}");
        }
    }
}
