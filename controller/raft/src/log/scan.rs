//! What a folder of segments holds: every frame in order, and whether it ends as a log may end.
//!
//! A log may end in a frame that is torn: it was being written and nobody was told of it. It may not end below its
//! mark, nor before something that was synced, which a later frame would say.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::Syncs;
use super::frame;
use super::mark::Mark;
use super::segment::{Segment, numbers};
use super::tail::Place;
use crate::codec::log::{self as record, Record};

/// Why a log cannot be used.
#[derive(Debug)]
pub(super) enum Trouble {
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where a log ends, and the segment in which it goes on.
#[derive(Debug)]
pub(super) struct End {
    pub(super) end: u64,
    pub(super) checksum: u32,
    pub(super) segment: Segment,
    /// All segments that have frames, ascending.
    pub(super) numbers: Vec<u64>,
}

/// Reads a log from its oldest segment on and passes its records to `take`, with the place of their frame. Then takes
/// away what is behind its end: a torn tail, and segments that were made ahead. Blocks.
pub(super) fn scan(
    dir: &Path,
    mark: Mark,
    syncs: &Syncs,
    mut take: impl FnMut(Place, Record) -> Result<(), String>,
) -> Result<Option<End>, Trouble> {
    let numbers = numbers(dir)?;
    let (mut end, mut torn): (Option<End>, bool) = (None, false);
    for number in &numbers {
        if let Some(last) = end.as_ref().map(|end| end.segment.number).filter(|last| last + 1 != *number) {
            return Err(Trouble::Damaged(format!("segments {} to {} are missing", last + 1, number - 1)));
        }
        let segment = Segment::open(dir, *number)?;
        let bytes = Bytes::from(segment.read()?);
        let previous = end.as_ref().map(|end| end.checksum);
        let read = frames(&bytes, *number, previous, mark, &mut take).map_err(Trouble::Damaged)?;
        if read.begun {
            let mut whole = end.map_or_else(Vec::new, |end| end.numbers);
            whole.push(*number);
            end = Some(End { end: read.end, checksum: read.checksum, segment, numbers: whole });
        }
        let at = end.as_ref().map_or(0, |end| end.end);
        let read = usize::try_from(read.end - Segment::base(*number)).unwrap_or(usize::MAX);
        torn = check_tail(&bytes, read, Segment::base(*number), at)?;
        if torn || read == 0 {
            check_rest(dir, &numbers, *number, at)?;
            break;
        }
    }
    let at = end.as_ref().map_or(0, |end| end.end);
    if at < mark.end {
        let sentence = format!("the log had {} bytes that were synced and now has {at}", mark.end);
        return Err(Trouble::Damaged(sentence));
    }
    if let Some(end) = &end {
        clear(dir, &numbers, end, torn.then_some(syncs))?;
    }
    Ok(end)
}

/// What the frames of one segment came to.
struct Read {
    begun: bool,
    end: u64,
    checksum: u32,
}

/// The frames of one segment up to the first that is none, or is not the next one.
fn frames(
    bytes: &Bytes,
    number: u64,
    mut previous: Option<u32>,
    mark: Mark,
    take: &mut impl FnMut(Place, Record) -> Result<(), String>,
) -> Result<Read, String> {
    let base = Segment::base(number);
    let mut read = Read { begun: false, end: base, checksum: previous.unwrap_or_default() };
    let mut at = 0;
    while let Some((head, body)) = bytes.get(at..).and_then(|rest| frame::read(rest, base + at as u64)) {
        if previous.is_some_and(|previous| previous != head.previous) {
            break;
        }
        let records = record::decode(bytes.slice_ref(body));
        for record in records.map_err(|reason| format!("the log at {}: {reason}", head.position))? {
            take(head.position, record)?;
        }
        at += frame::span(head.length as usize);
        read = Read { begun: true, end: base + at as u64, checksum: head.checksum };
        if read.end == mark.end && read.checksum != mark.checksum {
            return Err(format!("the log has another record before {} than was synced", mark.end));
        }
        previous = Some(head.checksum);
    }
    Ok(read)
}

/// Looks at what follows the last frame of a segment, true when that is not nothing: then the log has a torn tail,
/// unless it is damaged.
fn check_tail(bytes: &[u8], from: usize, base: u64, end: u64) -> Result<bool, Trouble> {
    let rest = bytes.get(from..).unwrap_or_default();
    if bytes.len() as u64 == super::SEGMENT_BYTES && rest.iter().all(|byte| *byte == 0) {
        return Ok(false);
    }
    match frame::behind(bytes, from, base).find(|head| head.durable > end) {
        Some(head) => Err(Trouble::Damaged(format!(
            "the log cannot be read at {end}, but was synced up to {} when the record at {} was written",
            head.durable, head.position
        ))),
        None => Ok(true),
    }
}

/// Looks for synced frames in all segments behind one.
fn check_rest(dir: &Path, numbers: &[u64], after: u64, end: u64) -> Result<(), Trouble> {
    for number in numbers.iter().filter(|number| **number > after) {
        check_tail(&Segment::open(dir, *number)?.read()?, 0, Segment::base(*number), end)?;
    }
    Ok(())
}

/// Takes away what is behind the end, so that nothing of it is ever taken for a part of what is written there next.
fn clear(dir: &Path, numbers: &[u64], end: &End, torn: Option<&Syncs>) -> Result<(), Trouble> {
    // The newest first: whatever a crash leaves of them has no gap.
    for number in numbers.iter().rev().take_while(|number| **number > end.segment.number) {
        Segment::remove(dir, *number)?;
    }
    if let Some(syncs) = torn {
        tracing::info!(
            at = end.end,
            "the log's last record was being written when its process ended: taken away"
        );
        end.segment.clear_from(end.end, syncs)?;
    }
    Ok(())
}
