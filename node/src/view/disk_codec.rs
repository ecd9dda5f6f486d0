//! A scope's file: magic, format version, CRC-32 of the rest, and one snapshot frame.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use coracle_proto::codec::DecodeError;
use coracle_proto::id::ClusterId;
use coracle_proto::pb;
use prost::Message as _;
use thiserror::Error;

use super::wire::{Frame, News, snapshot};
use super::{Content, Scoped};

const MAGIC: [u8; 4] = *b"CRLV";
/// Grows when the layout of the file changes, or what a scope shows; records have a schema of their own.
const FORMAT: u32 = 2;
/// The oldest that can be read.
const FORMAT_MIN: u32 = 1;
const HEADER_BYTES: usize = 12;
/// A view of a million records has about 200 MiB: what is larger is no view.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Why a file is no view. The node goes on without it.
#[derive(Debug, Error)]
pub(super) enum FileError {
    #[error("cannot read or write: {0}")]
    Io(#[from] io::Error),
    #[error("{bytes} bytes, at most {FILE_BYTES_MAX}")]
    TooLarge { bytes: u64 },
    #[error("not a view of format {FORMAT_MIN} to {FORMAT}")]
    Format,
    #[error("damaged: the checksum is {found:08x}, expected {expected:08x}")]
    Checksum { found: u32, expected: u32 },
    #[error("damaged: {0}")]
    Content(#[from] prost::DecodeError),
    #[error("damaged: {0}")]
    Field(#[from] DecodeError),
    #[error("of cluster {found}, not of {expected}")]
    Foreign { found: ClusterId, expected: ClusterId },
}

/// Reads a scope; none where there is no file yet.
pub(super) fn read<T: Content>(path: &Path, cluster: ClusterId) -> Result<Option<Scoped<T>>, FileError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let bytes = file.metadata()?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { bytes });
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    let (format, body) = checked(&content)?;
    let frame = Frame::try_from(pb::WatchFrame::decode(body)?)?;
    if frame.cluster != cluster {
        return Err(FileError::Foreign { found: frame.cluster, expected: cluster });
    }
    let News::Snapshot { changes, .. } = frame.news else { return Err(FileError::Format) };
    let mut scoped = Scoped::default();
    scoped.take(frame.stamp, changes, true);
    scoped.partial = format < T::WHOLE_SINCE;
    Ok(Some(scoped))
}

/// The format of a file and its body.
fn checked(content: &[u8]) -> Result<(u32, &[u8]), FileError> {
    let (header, body) = content.split_at_checked(HEADER_BYTES).ok_or(FileError::Format)?;
    let (magic, numbers) = header.split_at_checked(MAGIC.len()).ok_or(FileError::Format)?;
    let mut numbers = numbers.chunks_exact(4).filter_map(|part| part.try_into().ok().map(u32::from_le_bytes));
    let (format, expected) =
        (numbers.next().ok_or(FileError::Format)?, numbers.next().ok_or(FileError::Format)?);
    if magic != MAGIC || !(FORMAT_MIN..=FORMAT).contains(&format) {
        return Err(FileError::Format);
    }
    let found = crc32fast::hash(body);
    if found != expected {
        return Err(FileError::Checksum { found, expected });
    }
    Ok((format, body))
}

/// Writes a scope so that a crash leaves the old file or the new one. Answers how many bytes it has.
pub(super) fn write<T: Content>(
    path: &Path,
    cluster: ClusterId,
    scoped: &Scoped<T>,
) -> Result<u64, FileError> {
    let body = snapshot(cluster, scoped.stamp, scoped.content.records()).encode_to_vec();
    let bytes = body.len() as u64 + HEADER_BYTES as u64;
    if bytes > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { bytes });
    }
    let fresh = path.with_extension("tmp");
    let mut file = File::create(&fresh)?;
    file.write_all(&MAGIC)?;
    file.write_all(&FORMAT.to_le_bytes())?;
    file.write_all(&crc32fast::hash(&body).to_le_bytes())?;
    file.write_all(&body)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(bytes)
}
