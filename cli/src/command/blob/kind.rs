//! What a file holds, by its ending.

use std::path::Path;

/// Of anything.
const ANY: &str = "application/octet-stream";

/// Endings in small letters, each with its media type (IANA), in order.
const KINDS: [(&str, &str); 39] = [
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("parquet", "application/vnd.apache.parquet"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// None where the ending says nothing.
fn of(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit('/').next()?.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    let found = KINDS.binary_search_by(|(known, _)| (*known).cmp(ending.as_str())).ok()?;
    KINDS.get(found).map(|(_, kind)| *kind)
}

/// By the ending of the file, or of the key.
pub(super) fn guess(file: &Path, key: &str) -> &'static str {
    file.to_str().and_then(of).or_else(|| of(key)).unwrap_or(ANY)
}

/// As a person says it.
pub(super) fn check(text: &str) -> Result<String, String> {
    let good =
        text.contains('/') && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && text.len() <= 255;
    if good { Ok(text.to_owned()) } else { Err("expected a media type, such as image/png".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_by_the_last_ending() {
        assert!(KINDS.is_sorted_by_key(|(ending, _)| *ending));
        assert_eq!(of("a.b/photo.JPG"), Some("image/jpeg"));
        assert_eq!(of("src.tar.gz"), Some("application/gzip"));
        assert_eq!((of("a.b/c"), of("c."), of("-")), (None, None, None));
        assert_eq!(guess(Path::new("a.png"), "b.jpg"), "image/png");
        assert_eq!((guess(Path::new("-"), "b.jpg"), guess(Path::new("-"), "b")), ("image/jpeg", ANY));
        assert!(check("png").is_err() && check("image/png").is_ok());
    }
}
