//! Whatever happens, everything wanted becomes ready, within the bounds, and nothing else is done.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::super::plan::{
    Action, BACKOFF_MAX, COMPILES_MAX, FETCHES_MAX, Facts, Failure, Phase, Step, backoff, phase, plan,
};
use super::digest;

fn set() -> impl Strategy<Value = BTreeSet<u8>> {
    proptest::collection::btree_set(0..12_u8, 0..12)
}

fn digests(set: &BTreeSet<u8>) -> BTreeSet<coracle_proto::id::Digest> {
    set.iter().map(|number| digest(*number)).collect()
}

fn running(facts: &Facts, step: Step) -> usize {
    facts.running.values().filter(|it| **it == step).count()
}

/// Does what the plan says, and ends what runs, now and then with a failure.
fn step(facts: &mut Facts, now: Duration, fails: impl Fn(usize) -> bool) {
    for (index, (digest, step)) in std::mem::take(&mut facts.running).into_iter().enumerate() {
        if fails(index) {
            let failure = Failure::after(facts.failures.get(&digest), "broken".to_owned(), now);
            facts.failures.insert(digest, failure);
            continue;
        }
        facts.failures.remove(&digest);
        match step {
            Step::Fetch => facts.held.insert(digest),
            Step::Compile => facts.prepared.insert(digest),
        };
    }
    for action in plan(facts, now).actions {
        match action {
            Action::Fetch(digest) => assert!(facts.running.insert(digest, Step::Fetch).is_none()),
            Action::Compile(digest) => assert!(facts.running.insert(digest, Step::Compile).is_none()),
            Action::Cancel(digest) => assert!(facts.running.remove(&digest).is_some()),
        }
    }
    assert!(running(facts, Step::Fetch) <= FETCHES_MAX);
    assert!(running(facts, Step::Compile) <= COMPILES_MAX);
}

proptest! {
    #[test]
    fn everything_wanted_becomes_ready_and_nothing_else(
        assigned in set(), hold in set(), held in set(), prepared in set(),
        failures in proptest::collection::vec(any::<bool>(), 200),
    ) {
        let wanted: BTreeSet<u8> = assigned.union(&hold).copied().collect();
        let mut facts = Facts {
            assigned: digests(&assigned),
            hold: digests(&hold),
            held: digests(&held),
            prepared: digests(&prepared),
            ..Facts::default()
        };
        let mut now = Duration::ZERO;
        let mut rounds = 0;
        while !digests(&wanted).is_subset(&facts.held) || !digests(&wanted).is_subset(&facts.prepared) {
            // Failures end after a while.
            let unlucky = failures.get(rounds).copied().unwrap_or(false);
            step(&mut facts, now, |index| unlucky && index % 2 == 0);
            let planned = plan(&facts, now);
            let busy = !facts.running.is_empty() || !planned.actions.is_empty();
            // Something runs, or it is known when something will.
            prop_assert!(busy || planned.wake.is_some() || digests(&wanted).is_subset(&facts.prepared));
            now = planned.wake.filter(|_| !busy).unwrap_or(now + Duration::from_millis(500));
            rounds += 1;
            prop_assert!(rounds < 1000);
        }
        prop_assert_eq!(&facts.held, &digests(&held.union(&wanted).copied().collect()));
        prop_assert_eq!(&facts.prepared, &digests(&prepared.union(&wanted).copied().collect()));
        for digest in &facts.assigned {
            prop_assert_eq!(phase(&facts, digest), Phase::Ready);
        }
    }
}

#[test]
fn what_is_assigned_comes_before_what_is_only_held() {
    let facts =
        Facts { assigned: [digest(9)].into(), hold: (0..9).map(digest).collect(), ..Facts::default() };
    let actions = plan(&facts, Duration::ZERO).actions;
    assert_eq!(actions.first(), Some(&Action::Fetch(digest(9))));
    assert_eq!(actions.len(), FETCHES_MAX);
}

#[test]
fn what_is_not_wanted_any_more_is_cancelled_and_makes_room() {
    let mut facts = Facts { assigned: [digest(1)].into(), held: [digest(1)].into(), ..Facts::default() };
    facts.running.insert(digest(7), Step::Compile);
    let actions = plan(&facts, Duration::ZERO).actions;
    assert_eq!(actions, [Action::Cancel(digest(7)), Action::Compile(digest(1))]);
}

#[test]
fn a_failure_waits_longer_each_time() {
    let now = Duration::from_secs(100);
    let mut facts = Facts { assigned: [digest(1)].into(), ..Facts::default() };
    let first = Failure::after(None, "no source".to_owned(), now);
    facts.failures.insert(digest(1), first.clone());
    assert_eq!(phase(&facts, &digest(1)), Phase::Failed);
    let planned = plan(&facts, now);
    assert!(planned.actions.is_empty());
    assert_eq!(planned.wake, Some(now + Duration::from_secs(1)));
    assert_eq!(plan(&facts, now + Duration::from_secs(1)).actions, [Action::Fetch(digest(1))]);
    let second = Failure::after(Some(&first), "no source".to_owned(), now);
    assert_eq!((second.attempts, second.retry_at), (2, now + Duration::from_secs(2)));
    assert_eq!(backoff(100), BACKOFF_MAX);
}
