//! A function, and how its calls are divided among its versions.

use std::collections::BTreeSet;

use crate::id::{FunctionId, Revision, VersionNumber};
use crate::route::{RouteGrant, RouteSpec};

/// A function and which of its versions answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its namespace and name.
    pub id: FunctionId,
    /// The highest version number given out.
    pub latest: VersionNumber,
    /// Versions that take calls, with relative weights; never empty.
    pub traffic: Vec<Weight>,
    /// What takes the place of `traffic` when each of its versions is ready somewhere; empty when nothing waits.
    pub next: Vec<Weight>,
    /// Its own routes; without one it answers at its name.
    pub routes: Vec<RouteSpec>,
    /// Whom it lets have routes that take calls from its own, beside its own namespace.
    pub route_grants: Vec<RouteGrant>,
    /// Unix milliseconds.
    pub created_ms: u64,
    /// Unix milliseconds.
    pub updated_ms: u64,
    /// Of its last deploy or change of traffic: of the wish, not of its coming true.
    pub updated: Revision,
}

impl Function {
    /// How calls are divided, or will be as soon as what was asked for last is ready.
    #[must_use]
    pub fn wanted(&self) -> &[Weight] {
        if self.next.is_empty() { &self.traffic } else { &self.next }
    }

    /// The version with the most traffic; of equals the newest.
    #[must_use]
    pub fn main_version(&self) -> VersionNumber {
        self.main_of(&self.traffic)
    }

    /// The same, of what was asked for last, whether it is ready or not.
    #[must_use]
    pub fn wanted_version(&self) -> VersionNumber {
        self.main_of(self.wanted())
    }

    fn main_of(&self, table: &[Weight]) -> VersionNumber {
        let main = table.iter().max_by_key(|part| (part.weight, part.version));
        main.map_or(self.latest, |part| part.version)
    }

    /// Whether the version takes calls.
    #[must_use]
    pub fn serves(&self, version: VersionNumber) -> bool {
        self.traffic.iter().any(|part| part.version == version)
    }

    /// Versions that take calls or will: nodes hold them ready.
    #[must_use]
    pub fn kept(&self) -> BTreeSet<VersionNumber> {
        self.traffic.iter().chain(&self.next).map(|part| part.version).collect()
    }
}

/// A version's share of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// Which version.
    pub version: VersionNumber,
    /// Relative to the others'; at least 1.
    pub weight: u32,
}
