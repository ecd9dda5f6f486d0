//! Invocations of a namespace, the newest first, a page at a time.

use bytes::Bytes;
use coracle_proto::id::{InvocationId, Namespace};
use coracle_raft::Reader;
use coracle_raft::Stop;

use super::super::fault::unreadable;
use super::super::keys;
use super::super::limits::PAGE_MAX;
use super::super::name::Name;
use super::super::record::Invocation;
use super::{Phase, Seen, found, now_ms, seen};

/// Which invocations are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Of which function; none: of all.
    pub function: Option<Name>,
    /// In one of these; empty: in any.
    pub phases: Vec<Phase>,
    /// Accepted then or later, Unix milliseconds.
    pub since_ms: u64,
    /// Accepted before.
    pub until_ms: u64,
    /// Of which trace; empty: of all.
    pub trace_id: String,
}

impl Wanted {
    /// All of a namespace.
    pub const ALL: Self =
        Self { function: None, phases: Vec::new(), since_ms: 0, until_ms: u64::MAX, trace_id: String::new() };

    /// Of what the record alone tells.
    fn has(&self, record: &Invocation) -> bool {
        (self.function.is_none() || self.function == record.function)
            && (self.trace_id.is_empty() || self.trace_id == record.trace_id)
    }

    fn has_phase(&self, phase: Phase) -> bool {
        self.phases.is_empty() || self.phases.contains(&phase)
    }
}

/// Where a list is: behind this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// When it was accepted, Unix milliseconds.
    pub accepted_ms: u64,
    /// Which one.
    pub invocation: InvocationId,
}

impl Mark {
    /// Twenty-four bytes, for whoever goes on.
    #[must_use]
    pub fn to_wire(self) -> Bytes {
        [&self.accepted_ms.to_be_bytes()[..], &self.invocation.to_bytes()].concat().into()
    }

    /// From what [`Self::to_wire`] has made; none: these bytes it has not.
    #[must_use]
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        let (accepted_ms, invocation) = bytes.split_first_chunk::<8>()?;
        let invocation = InvocationId::try_from(invocation).ok()?;
        Some(Self { accepted_ms: u64::from_be_bytes(*accepted_ms), invocation })
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The newest first.
    pub seen: Vec<Seen>,
    /// Where the next page begins. None: the list ends here.
    pub after: Option<Mark>,
}

/// The invocations of a namespace that are wanted, those behind `after`, as many as `most` and no more than
/// [`PAGE_MAX`], which are also the records that are looked at: a page may have fewer, or none, and yet not be the last
/// one.
///
/// # Errors
/// When they cannot be read.
pub fn invocations(
    reader: &dyn Reader,
    namespace: &Namespace,
    wanted: &Wanted,
    after: Option<Mark>,
    most: usize,
) -> Result<Listing, Stop> {
    let now_ms = now_ms(reader)?;
    let (first, end) = keys::listed_between(namespace, wanted.since_ms, wanted.until_ms);
    // The least key after another one is the same with a zero byte behind it.
    let next = after.map(|mark| {
        let row = keys::listed(namespace, mark.accepted_ms, mark.invocation);
        Bytes::from([&row[..], b"\0"].concat())
    });
    let from = next.map_or_else(|| first.clone(), |next| next.max(first.clone()));
    let most = most.clamp(1, PAGE_MAX);
    let mut listing = Listing { seen: Vec::new(), after: None };
    for (looked_at, row) in reader.scan(&from, &end).enumerate() {
        if looked_at == PAGE_MAX || listing.seen.len() == most {
            return Ok(listing);
        }
        let (row, _) = row?;
        let (accepted_ms, id) = keys::listed_parts(&row).ok_or_else(|| unreadable("a row of a list"))?;
        listing.after = Some(Mark { accepted_ms, invocation: id });
        let Some(record) = found(reader, id, now_ms)?.filter(|record| wanted.has(record)) else { continue };
        let seen = seen(reader, id, record)?;
        if wanted.has_phase(seen.phase) {
            listing.seen.push(seen);
        }
    }
    Ok(Listing { after: None, ..listing })
}
