//! What is done to a picture: its size and a filter, both from the query.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use crate::http::Failure;

/// Pixels on a side that are decoded.
const SIDE_MAX: u32 = 8000;
/// Bytes that decoding may take; the function's memory is 128 MiB.
const DECODE_BYTES_MAX: u64 = 96 << 20;
/// Width without `width=`.
const WIDTH_DEFAULT: u32 = 320;

/// A picture, encoded.
pub struct Picture {
    pub media_type: &'static str,
    pub bytes: Vec<u8>,
}

/// Decodes, resizes, filters and encodes in the format that came.
pub fn edit(target: &str, body: &[u8]) -> Result<Picture, Failure> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let width = width(query)?;
    let (picture, format) = decode(body)?;
    let smaller = if picture.width() > width { picture.resize(width, u32::MAX, FilterType::Triangle) } else { picture };
    encode(&filter(query, smaller)?, format)
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn width(query: &str) -> Result<u32, Failure> {
    let Some(text) = parameter(query, "width") else { return Ok(WIDTH_DEFAULT) };
    let width = text.parse().ok().filter(|width| (1..=SIDE_MAX).contains(width));
    width.ok_or_else(|| (400, format!("width is a number from 1 to {SIDE_MAX}, not '{text}'")))
}

fn decode(body: &[u8]) -> Result<(DynamicImage, ImageFormat), Failure> {
    let unreadable = |error: &dyn std::fmt::Display| (415, format!("not a JPEG or PNG that can be read: {error}"));
    let mut reader = ImageReader::new(Cursor::new(body)).with_guessed_format().map_err(|error| unreadable(&error))?;
    let format = reader.format().ok_or_else(|| unreadable(&"unknown format"))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| unreadable(&error))?;
    Ok((picture, format))
}

fn filter(query: &str, picture: DynamicImage) -> Result<DynamicImage, Failure> {
    match parameter(query, "filter") {
        None | Some("none") => Ok(picture),
        Some("gray") => Ok(picture.grayscale()),
        Some("invert") => {
            let mut inverted = picture;
            inverted.invert();
            Ok(inverted)
        }
        Some("blur") => Ok(picture.fast_blur(3.0)),
        Some(other) => Err((400, format!("filter is none, gray, invert or blur, not '{other}'"))),
    }
}

fn encode(picture: &DynamicImage, format: ImageFormat) -> Result<Picture, Failure> {
    let media_type = match format {
        ImageFormat::Png => "image/png",
        _ => "image/jpeg",
    };
    let mut bytes = Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, format);
    written.map_err(|error| (500, format!("the picture could not be encoded: {error}")))?;
    Ok(Picture { media_type, bytes: bytes.into_inner() })
}
