//! What the leader wants of this node, read from the wire.

use std::collections::BTreeSet;
use std::time::Duration;

use coracle_proto::codec::{DecodeError, InField as _};
use coracle_proto::id::{Digest, Revision};
use coracle_proto::pb;

/// Reports come no faster than this whatever is ordered, and no slower than that.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
const INTERVAL_MAX: Duration = Duration::from_secs(60);
/// Without orders.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// All that is wanted now: it replaces what was wanted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// Artifacts to hold.
    pub hold: BTreeSet<Digest>,
    /// Artifacts that no version names.
    pub remove: Vec<Removal>,
    /// Where to fetch from, each `HOST:PORT`.
    pub sources: Vec<String>,
    /// Between reports.
    pub interval: Duration,
}

/// An artifact to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Which one.
    pub digest: Digest,
    /// When it was decided: a view that is older may not know that it is assigned again.
    pub revision: Revision,
    /// Only if it was not renewed for longer.
    pub older_than: Duration,
}

impl Orders {
    /// Whether they ask for anything beside holding what was to be held before.
    pub(super) fn is_news(&self, hold: &BTreeSet<Digest>) -> bool {
        !self.remove.is_empty() || self.hold != *hold
    }
}

impl Default for Orders {
    fn default() -> Self {
        Self { hold: BTreeSet::new(), remove: Vec::new(), sources: Vec::new(), interval: INTERVAL }
    }
}

impl TryFrom<pb::Orders> for Orders {
    type Error = DecodeError;

    fn try_from(wire: pb::Orders) -> Result<Self, DecodeError> {
        let digest = |bytes: &[u8]| Digest::try_from(bytes).in_field("digest");
        let removal = |removal: &pb::Removal| {
            Ok(Removal {
                digest: digest(&removal.digest)?,
                revision: Revision::new(removal.revision),
                older_than: Duration::from_millis(removal.older_than_ms),
            })
        };
        let interval = match wire.interval_ms {
            0 => INTERVAL,
            ms => Duration::from_millis(ms.into()).clamp(INTERVAL_MIN, INTERVAL_MAX),
        };
        Ok(Self {
            hold: wire.hold.iter().map(|bytes| digest(bytes)).collect::<Result<_, _>>()?,
            remove: wire.remove.iter().map(removal).collect::<Result<_, _>>()?,
            sources: wire.sources,
            interval,
        })
    }
}
