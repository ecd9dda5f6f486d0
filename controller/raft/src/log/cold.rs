//! Entries that are not in memory any more, read from their frames.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use bytes::Bytes;
use coracle_proto::id::GroupId;

use super::frame::{self, HEAD};
use super::segment::Segment;
use super::tail::{Place, entry_bytes};
use crate::codec::log::{self as record, Record};
use crate::types::{Entry, LogId};

/// Reads entries from their places, the first ones up to `bytes_max`, but one at least. Blocks.
pub(super) fn read(
    dir: &Path,
    group: GroupId,
    wanted: &[(LogId, Place)],
    bytes_max: usize,
) -> io::Result<Vec<Entry>> {
    let (mut found, mut bytes): (Vec<Entry>, usize) = (Vec::new(), 0);
    let mut frame: Option<(Place, Vec<Record>)> = None;
    for (id, place) in wanted {
        let records = match frame.take() {
            Some((at, records)) if at == *place => records,
            Some(_) | None => read_frame(dir, *place)?,
        };
        let entry = records.iter().find_map(|record| match record {
            Record::Entry(of, entry) if *of == group && entry.log_id == *id => Some(entry.clone()),
            _ => None,
        });
        let entry = entry.ok_or_else(|| damaged(*place, &format!("entry {id} is not there")))?;
        bytes += entry_bytes(&entry);
        if !found.is_empty() && bytes > bytes_max {
            break;
        }
        found.push(entry);
        frame = Some((*place, records));
    }
    Ok(found)
}

fn read_frame(dir: &Path, place: Place) -> io::Result<Vec<Record>> {
    let number = Segment::of(place);
    let segment = Segment::open(dir, number)?;
    let at = place - Segment::base(number);
    let mut head = [0; HEAD];
    segment.file.read_exact_at(&mut head, at)?;
    // The length is checked with the rest of the frame, which ends inside its segment.
    let length = frame::length(&head).ok_or_else(|| damaged(place, "no frame is there"))?;
    let mut bytes = vec![0; HEAD + length];
    segment.file.read_exact_at(&mut bytes, at)?;
    let body = match frame::read(&bytes, place) {
        Some((_, body)) => Bytes::copy_from_slice(body),
        None => return Err(damaged(place, "the frame is not what was written")),
    };
    record::decode(body).map_err(|reason| damaged(place, &reason))
}

fn damaged(place: Place, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the log at {place}: {reason}"))
}
