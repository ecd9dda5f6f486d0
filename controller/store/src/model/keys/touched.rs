//! What a changed key is about, for whoever is told of changes and knows no keys.

use coracle_proto::id::InvocationId;

use super::super::blob::UploadId;
use super::super::name::Place;
use super::kind::Kind;
use super::{place_of, upload_parts_of};

/// The kinds of keys that somebody waits for.
const READY: u8 = Kind::Ready.byte();
const ACTIVE: u8 = Kind::Active.byte();
const INVOCATION: u8 = Kind::Invocation.byte();
const SCHEDULE: u8 = Kind::Schedule.byte();
const COMMIT: u8 = Kind::Commit.byte();
const PARTS: u8 = Kind::UploadParts.byte();

/// What somebody who is told of changed keys may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// Something may have become ready, or is not any more.
    Ready,
    /// The record of this invocation: it was accepted, an attempt was reported, it ended, was revived or forgotten.
    Invocation(InvocationId),
    /// This schedule: it was told, has had a tick, or is not there any more.
    Schedule(Place),
    /// A blob came by an upload, or one that did is not there any more.
    Commit,
    /// Parts of this upload were put, or are not there any more.
    Parts(UploadId),
}

/// What a changed key is about; none: nothing that anybody waits for.
#[must_use]
pub fn touched(key: &[u8]) -> Option<Touched> {
    let (kind, rest) = key.split_first()?;
    match *kind {
        READY | ACTIVE => Some(Touched::Ready),
        INVOCATION => InvocationId::try_from(rest).ok().map(Touched::Invocation),
        SCHEDULE => place_of(key).map(Touched::Schedule),
        COMMIT => Some(Touched::Commit),
        PARTS => upload_parts_of(key).map(|(upload, _)| Touched::Parts(upload)),
        _ => None,
    }
}
