//! Goal: the balancer keeps its promises for any history, and is better than chance.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use coracle_proto::id::{Epoch, FunctionId, NodeId, VersionId, VersionNumber};
use proptest::prelude::*;

use super::{Budget, Candidate, Loads, Rank, Why, pick};
use crate::load::Load;

fn version() -> VersionId {
    named("f")
}

fn named(function: &str) -> VersionId {
    VersionId { function: FunctionId::parse("", function).unwrap(), number: VersionNumber::new(1) }
}

fn candidates(count: u64, local: Option<u64>) -> Vec<Candidate> {
    let one = |id| Candidate {
        node: NodeId::new(id),
        local: local == Some(id),
        epoch: Epoch::new(1),
        rank: Rank::Ready,
    };
    (1..=count).map(one).collect()
}

#[derive(Debug, Clone)]
enum Event {
    Started(u64),
    Ended(u64),
    Answered(u64, u64),
    Failed(u64),
    Faulted(u64),
    Reported(u64, u32),
    Passed(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let node = 1..6_u64;
    prop_oneof![
        node.clone().prop_map(Event::Started),
        node.clone().prop_map(Event::Ended),
        (node.clone(), 1..100_000_u64).prop_map(|(node, micros)| Event::Answered(node, micros)),
        node.clone().prop_map(Event::Failed),
        node.clone().prop_map(Event::Faulted),
        (node, 0..50_u32).prop_map(|(node, in_flight)| Event::Reported(node, in_flight)),
        (0..8000_u64).prop_map(Event::Passed),
    ]
}

proptest! {
    #[test]
    fn a_failed_node_is_only_probed_while_others_are_up(
        events in proptest::collection::vec(event(), 0..60),
        randoms in proptest::collection::vec(any::<u64>(), 1..20),
        ranks in proptest::collection::vec(0..4_usize, 5),
        may_probe in any::<bool>(),
    ) {
        let (mut loads, mut now) = (Loads::default(), Duration::ZERO);
        for event in events {
            match event {
                Event::Started(node) => loads.started(&version(), NodeId::new(node), false, now),
                Event::Ended(node) => loads.ended(NodeId::new(node)),
                Event::Answered(node, micros) => {
                    loads.answered(&version(), NodeId::new(node), Some(Duration::from_micros(micros)), now);
                }
                Event::Failed(node) => loads.failed(NodeId::new(node), now),
                Event::Faulted(node) => loads.faulted(&version(), NodeId::new(node), now),
                Event::Reported(node, in_flight) => {
                    loads.reported(NodeId::new(node), Load { in_flight, slots: 2, ..Load::default() }, now);
                }
                Event::Passed(millis) => now += Duration::from_millis(millis),
            }
        }
        let all = [Rank::Ready, Rank::Unknown, Rank::NotReady, Rank::Leaving];
        let mut list = candidates(5, Some(2));
        list.iter_mut().zip(&ranks).for_each(|(one, rank)| one.rank = all[*rank]);
        let up = |node| loads.health(&version(), NodeId::new(node)).is_up();
        prop_assert_eq!(loads.of(&version(), now).is_steady(), (1..6).all(up), "it is known who is aside");
        for random in randoms {
            let picked = pick(&list, &version(), &loads, may_probe, now, random).unwrap();
            let health = loads.health(&version(), picked.node);
            let up: Vec<_> = list.iter().filter(|one| loads.health(&version(), one.node).is_up()).collect();
            match picked.why {
                Why::Better => {
                    prop_assert!(health.is_up());
                    let best = up.iter().map(|one| one.rank).min().unwrap();
                    prop_assert_eq!(list[picked.index].rank, best);
                }
                Why::Probe => prop_assert!(health.may_probe(now) && (may_probe || health.is_overdue(now))),
                Why::Floor => prop_assert!(up.is_empty()),
            }
        }
        prop_assert!(pick(&[], &version(), &loads, may_probe, now, 0).is_none());
    }

    #[test]
    fn the_own_node_wins_ties(random in any::<u64>(), local in 1..9_u64) {
        let picked = pick(&candidates(8, Some(local)), &version(), &Loads::default(), true, Duration::ZERO, random);
        prop_assert_eq!(picked.unwrap().node, NodeId::new(local));
    }
}

#[test]
fn a_failed_node_comes_back_by_one_probe() {
    let (mut loads, list, version) = (Loads::default(), candidates(2, None), version());
    let (second, at) = (NodeId::new(2), Duration::from_millis);
    loads.failed(second, at(0));
    for random in 0..100 {
        let picked = pick(&list, &version, &loads, true, at(100), random).unwrap();
        assert_eq!((picked.node, picked.why), (NodeId::new(1), Why::Better), "it is set aside");
    }
    let picked = |loads: &Loads, now| pick(&list, &version, loads, true, now, 1).unwrap();
    assert_eq!(picked(&loads, at(199)).why, Why::Better);
    assert_eq!((picked(&loads, at(200)).node, picked(&loads, at(200)).why), (second, Why::Probe));
    loads.started(&version, second, true, at(200));
    assert_eq!(picked(&loads, at(201)).node, NodeId::new(1), "one probe at a time");
    loads.failed(second, at(210));
    assert_eq!(picked(&loads, at(600)).why, Why::Better, "the second failure counts twice as long");
    assert_eq!(picked(&loads, at(610)).why, Why::Probe);
    loads.answered(&version, second, None, at(611));
    assert!(loads.health(&version, second).is_up());
}

#[test]
fn a_fault_of_one_version_sets_only_that_version_aside() {
    let (mut loads, list, at) = (Loads::default(), candidates(2, None), Duration::from_millis);
    let (sound, broken, second) = (named("g"), version(), NodeId::new(2));
    loads.faulted(&broken, second, at(0));
    let picked = |loads: &Loads, version: &VersionId, now| {
        let picks = (0..100).map(|random| pick(&list, version, loads, true, now, random).unwrap());
        picks.map(|pick| pick.node).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(picked(&loads, &broken, at(100)), [NodeId::new(1)].into());
    assert_eq!(picked(&loads, &sound, at(100)).len(), 2, "the node is sound");
    loads.answered(&sound, second, Some(at(1)), at(150));
    assert!(!loads.health(&broken, second).is_up(), "another version's answer says nothing about it");
    assert_eq!(picked(&loads, &broken, at(200)), [second].into(), "it is probed");
    loads.started(&broken, second, true, at(200));
    assert_eq!(picked(&loads, &broken, at(201)), [NodeId::new(1)].into(), "by one call");
    loads.answered(&broken, second, Some(at(1)), at(202));
    assert!(loads.health(&broken, second).is_up());
}

#[test]
fn what_the_view_no_longer_has_is_forgotten() {
    let (mut loads, at) = (Loads::default(), Duration::from_millis);
    let [one, two, three] = [1, 2, 3].map(NodeId::new);
    for (node, version) in [(one, version()), (two, version()), (three, version()), (one, named("g"))] {
        loads.started(&version, node, false, at(0));
        loads.faulted(&version, node, at(0));
        if node != three {
            loads.ended(node);
        }
    }
    loads.failed(two, at(0));
    loads.retain(|node| node == one, |version| *version == self::version());
    assert!(!loads.health(&version(), one).is_up());
    assert!(loads.health(&named("g"), one).is_up(), "no such version");
    assert!(loads.health(&version(), two).is_up(), "no such node");
    assert_eq!(loads.own(three), 1, "a call is open");
}

/// A gateway of very many functions would go through all of them at each call of a further one.
#[test]
fn more_versions_than_are_remembered_are_looked_through_once_a_second() {
    let (mut loads, node) = (Loads::default(), NodeId::new(1));
    let latency = Some(Duration::from_millis(1));
    for at in 0..10_000 {
        loads.answered(&named(&format!("f{at}")), node, latency, Duration::ZERO);
    }
    let known = |loads: &mut Loads, function: &str, millis| {
        let now = Duration::from_millis(millis);
        loads.answered(&named(function), node, latency, now);
        loads.of(&named(function), now).latency(node).is_some()
    };
    assert!(!known(&mut loads, "g0", 59_500), "all were called within the last minute");
    assert!(!known(&mut loads, "g1", 60_400), "they were not, but that was looked at just now");
    assert!(known(&mut loads, "g2", 60_500));
    assert!(known(&mut loads, "g3", 60_500), "there is room");
}

#[test]
fn retries_are_a_share_of_the_calls() {
    let mut budget = Budget::default();
    let now = Duration::from_secs(1000);
    let saved = (0..).take_while(|_| budget.retry(now)).count();
    assert_eq!(saved, 1000);
    (0..100).for_each(|_| budget.call());
    assert_eq!((0..).take_while(|_| budget.retry(now)).count(), 20);
    assert!(budget.retry(now + Duration::from_millis(100)));
}

/// Two random words of one state (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn exponential(state: &mut u64, mean: f64) -> f64 {
    let unit = ((next(state) >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    -unit.ln() * mean
}

/// Eight nodes of two slots each, half of them half as fast, first come first served, at 80 % of their capacity.
/// Answers with the time in the system that 99 of 100 calls stay under, in microseconds.
fn simulate(seed: u64, mut choose: impl FnMut(&[Candidate], &Loads, Duration, u64) -> NodeId) -> f64 {
    const SERVICE_MICROS: f64 = 1000.0;
    let (mut state, list, version) = (seed, candidates(8, None), version());
    let mut loads = Loads::default();
    let mut free = [[0.0_f64; 2]; 9];
    let mut ends: BinaryHeap<Reverse<(u64, u64, u64)>> = BinaryHeap::new();
    let (mut clock, mut stays) = (0.0, Vec::new());
    for _ in 0..20_000 {
        clock += exponential(&mut state, SERVICE_MICROS / (12.0 * 0.8));
        while let Some(Reverse((end, node, began))) =
            ends.peek().copied().filter(|Reverse(end)| end.0 as f64 <= clock)
        {
            ends.pop();
            let (now, node) = (Duration::from_micros(end), NodeId::new(node));
            loads.ended(node);
            loads.answered(&version, node, Some(Duration::from_micros(end - began)), now);
            let in_flight = ends.iter().filter(|Reverse(open)| open.1 == node.get()).count() as u32;
            loads.reported(node, Load { in_flight, slots: 2, ..Load::default() }, now);
        }
        let now = Duration::from_micros(clock as u64);
        let node = choose(&list, &loads, now, next(&mut state));
        loads.started(&version, node, false, now);
        let slow = if node.get().is_multiple_of(2) { 2.0 } else { 1.0 };
        let slots = &mut free[node.get() as usize];
        let slot = if slots[0] <= slots[1] { 0 } else { 1 };
        slots[slot] = slots[slot].max(clock) + exponential(&mut state, SERVICE_MICROS * slow);
        stays.push(slots[slot] - clock);
        ends.push(Reverse((slots[slot] as u64, node.get(), clock as u64)));
    }
    stays.sort_by(f64::total_cmp);
    stays[stays.len() * 99 / 100]
}

#[test]
fn two_choices_beat_chance() {
    for seed in [1, 2, 3] {
        let version = version();
        let two = simulate(seed, |list, loads, now, random| {
            pick(list, &version, loads, true, now, random).unwrap().node
        });
        let chance = simulate(seed, |list, _, _, random| list[(random % 8) as usize].node);
        println!("seed {seed}: p99 of two choices {two:.0} us, of chance {chance:.0} us");
        assert!(two * 2.0 < chance, "seed {seed}: {two} against {chance}");
    }
}
