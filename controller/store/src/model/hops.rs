//! How many calls for events stand behind what is published: a function that feeds itself ends.

use std::collections::BTreeMap;

use super::limits::HOPS_MAX;
use super::refusal::{Reason, Refusal};

/// The attribute that tells it: of the `CloudEvent` `ce-hops`.
pub(super) const ATTRIBUTE: &str = "hops";

/// What attributes tell; none: nothing.
pub(super) fn told(attributes: &BTreeMap<String, String>) -> Option<u64> {
    attributes.get(ATTRIBUTE)?.parse().ok()
}

/// Refuses what would go on for too long.
pub(super) fn check(hops: u64) -> Result<(), Refusal> {
    if hops > HOPS_MAX {
        return Err(Refusal::over(Reason::Loop, "events", hops, HOPS_MAX));
    }
    Ok(())
}
