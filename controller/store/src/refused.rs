//! What a leader let nobody in for: of each webhook how much, by cause, since it leads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Place;

/// Webhooks that are counted: a group has no more. What was deleted meanwhile has its place until the next term.
const WEBHOOKS_MAX: usize = 20_000;

/// Counts by cause.
pub(crate) type Causes = BTreeMap<&'static str, u64>;

/// Of one replica. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refused(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    term: u64,
    of: BTreeMap<Place, Causes>,
}

impl Refused {
    /// One more.
    pub(crate) fn count(&self, webhook: &Place, term: u64, cause: &'static str) {
        let mut counts = self.in_term(term);
        if counts.of.len() < WEBHOOKS_MAX || counts.of.contains_key(webhook) {
            *counts.of.entry(webhook.clone()).or_default().entry(cause).or_default() += 1;
        }
    }

    /// Of one webhook.
    pub(crate) fn of(&self, webhook: &Place, term: u64) -> Causes {
        self.in_term(term).of.get(webhook).cloned().unwrap_or_default()
    }

    /// Those of an earlier term were another leader's, or this one's before.
    fn in_term(&self, term: u64) -> MutexGuard<'_, Counts> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.term < term {
            *counts = Counts { term, of: BTreeMap::new() };
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_is_counted_by_cause_and_term() {
        let (refused, webhook) = (Refused::default(), Place::parse("shop", "w").unwrap());
        refused.count(&webhook, 3, "old");
        refused.count(&webhook, 3, "old");
        refused.count(&webhook, 3, "mismatch");
        assert_eq!(refused.of(&webhook, 3), Causes::from([("old", 2), ("mismatch", 1)]));
        assert_eq!(refused.of(&Place::parse("shop", "v").unwrap(), 3), Causes::new());
        assert_eq!(refused.of(&webhook, 4), Causes::new());
    }
}
