//! Whether values behave as if there were one copy of them: what clients saw, checked against a register for each key by the search of
//! Wing, Gong and Lowe ("Testing for linearizability", 2017), as the crate `todc-utils` has it.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History as Ordered};
use todc_utils::specifications::Specification;

/// How long the search may take: for a history of a few thousand operations it takes some seconds.
const SEARCH_MAX: Duration = Duration::from_secs(120);

/// What a client did with a key. No value is written twice: so it stands for its version too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// It read the value, or that there was none.
    Read(Option<u64>),
    /// It set the value.
    Set(u64),
    /// It was to set the value, and was told nothing.
    MaybeSet(u64),
    /// It set the value where it found the other one.
    Swapped(Option<u64>, u64),
    /// It was to, and was told nothing.
    MaybeSwapped(Option<u64>, u64),
    /// It was told that the value was not this one.
    NotSwapped(Option<u64>),
    /// It took the value away.
    Deleted,
    /// It was to take the value away, and was told nothing.
    MaybeDeleted,
}

impl Did {
    /// Whether it may be done at any time after it was asked for, or never.
    const fn is_open(self) -> bool {
        matches!(self, Self::MaybeSet(_) | Self::MaybeSwapped(..) | Self::MaybeDeleted)
    }
}

struct Register;

impl Specification for Register {
    type State = Option<u64>;
    type Operation = Did;

    fn init() -> Self::State {
        None
    }

    fn apply(did: &Did, state: &Self::State) -> (bool, Self::State) {
        match *did {
            Did::Read(value) => (*state == value, *state),
            Did::Set(value) | Did::MaybeSet(value) => (true, Some(value)),
            Did::Swapped(found, value) => {
                (*state == found, if *state == found { Some(value) } else { *state })
            }
            // It was refused, or was done after the last one that looked.
            Did::MaybeSwapped(found, value) => (true, if *state == found { Some(value) } else { *state }),
            Did::NotSwapped(found) => (*state != found, *state),
            Did::Deleted | Did::MaybeDeleted => (true, None),
        }
    }
}

/// An operation, and between which moments it was done.
#[derive(Debug, Clone)]
struct Operation {
    key: String,
    asked: Instant,
    /// None: it may be done at any time after it was asked for, or never.
    told: Option<Instant>,
    did: Did,
}

/// What clients did, in any order.
#[derive(Debug, Default)]
pub struct History(Vec<Operation>);

impl History {
    /// Somebody did this from `asked` until now.
    pub fn did(&mut self, key: &str, asked: Instant, did: Did) {
        let told = (!did.is_open()).then(Instant::now);
        self.0.push(Operation { key: key.to_owned(), asked, told, did });
    }

    /// How much there is, and how much of it may be done or not.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().filter(|operation| operation.did.is_open()).count())
    }

    /// Whether one order of all of it, in which each takes a moment between its question and its answer, explains what was told.
    ///
    /// # Errors
    /// That there is none, with what was told of the key; that the search took too long.
    pub fn check(&self) -> Result<(), String> {
        let mut keys: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
        for operation in &self.0 {
            keys.entry(&operation.key).or_default().push(operation.clone());
        }
        for (key, operations) in keys {
            let (answer, told) = mpsc::channel();
            let ordered = ordered(&operations);
            std::thread::spawn(move || answer.send(WGLChecker::<Register>::is_linearizable(ordered)));
            match told.recv_timeout(SEARCH_MAX) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(format!("no order explains what was told of {key}: {operations:#?}"));
                }
                Err(_) => return Err(format!("no answer about {key} within {SEARCH_MAX:?}")),
            }
        }
        Ok(())
    }
}

/// Questions and answers in the order of time; what is open is answered at the end, where nobody looks any more.
fn ordered(operations: &[Operation]) -> Ordered<Did> {
    let ends = operations.iter().filter_map(|it| it.told.max(Some(it.asked))).max();
    let end = ends.unwrap_or_else(Instant::now);
    let mut actions = Vec::with_capacity(operations.len() * 2);
    // Each is a client of its own: one that was told nothing goes on all the same.
    for (number, operation) in operations.iter().enumerate() {
        let Operation { asked, told, did, .. } = operation;
        actions.push((*asked, 0, (number, Action::Call(*did))));
        actions.push((told.unwrap_or(end), 1 + u8::from(told.is_none()), (number, Action::Response(*did))));
    }
    actions.sort_by_key(|(moment, turn, _)| (*moment, *turn));
    Ordered::from_actions(actions.into_iter().map(|(_, _, action)| action).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations of one key, one after the other.
    fn check(told: &[Did]) -> Result<(), String> {
        let mut history = History::default();
        for did in told {
            // The clock has moved: two that follow each other are not at once.
            let before = Instant::now();
            while Instant::now() == before {}
            history.did("k", Instant::now(), *did);
        }
        history.check()
    }

    #[test]
    fn what_one_copy_would_tell_is_found_good() {
        let told = [
            Did::Read(None),
            Did::Set(1),
            Did::Read(Some(1)),
            Did::Swapped(Some(1), 2),
            Did::NotSwapped(Some(1)),
            // It was told nothing, and was done.
            Did::MaybeSet(3),
            Did::Read(Some(3)),
            Did::Deleted,
            Did::Swapped(None, 4),
            // Were never done.
            Did::MaybeSwapped(Some(7), 5),
            Did::MaybeDeleted,
            Did::Read(Some(4)),
        ];
        assert_eq!(check(&told), Ok(()));
    }

    #[test]
    fn what_one_copy_would_never_tell_is_found_out() {
        let stale = [Did::Set(1), Did::Set(2), Did::Read(Some(1))];
        let lost = [Did::Set(1), Did::Read(None)];
        let twice = [Did::Swapped(None, 1), Did::Swapped(None, 2)];
        let risen = [Did::Set(1), Did::Deleted, Did::Read(Some(1))];
        let refused = [Did::Set(1), Did::NotSwapped(Some(1))];
        let invented = [Did::Set(1), Did::Read(Some(3))];
        for told in [&stale[..], &lost, &twice, &risen, &refused, &invented] {
            assert!(check(told).is_err(), "{told:?}");
        }
    }
}
