//! What is done to a picture.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{ImageError, ImageFormat, ImageReader, Limits};

/// Bytes of a picture that is read: more would not fit the function's memory once decoded.
pub const BYTES_MAX: u64 = 16 << 20;
/// Pixels on a side that are decoded.
const SIDE_MAX: u32 = 8000;
/// Bytes that decoding may take; the function's memory is 256 MiB.
const DECODE_BYTES_MAX: u64 = 160 << 20;
/// Pixels on the longer side.
const SIDE: u32 = 320;

/// A small one, with the size of what it was made of.
pub struct Small {
    pub width: u32,
    pub height: u32,
    pub bytes: Vec<u8>,
}

/// In the same format; else why there is none.
pub fn smaller(bytes: &[u8]) -> Result<Small, String> {
    let other = || "is no JPEG or PNG".to_owned();
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| other())?;
    let format = reader.format().ok_or_else(other)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| match error {
        ImageError::Limits(_) => {
            format!("is too large: a photo has at most {SIDE_MAX} pixels on a side, and {} MiB decoded", DECODE_BYTES_MAX >> 20)
        }
        ImageError::Unsupported(_) => other(),
        error => format!("cannot be read: {error}"),
    })?;
    let (width, height) = (picture.width(), picture.height());
    let small = if width.max(height) > SIDE { picture.resize(SIDE, SIDE, FilterType::Triangle) } else { picture };
    let format = if format == ImageFormat::Png { ImageFormat::Png } else { ImageFormat::Jpeg };
    let mut written = Cursor::new(Vec::new());
    small.write_to(&mut written, format).map_err(|error| format!("cannot be made small: {error}"))?;
    Ok(Small { width, height, bytes: written.into_inner() })
}

/// A header's value, percent-decoded (CloudEvents 1.0.2, HTTP binding 3.1.3.2).
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
