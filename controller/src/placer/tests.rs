//! Goal: what rules a node out, what ranks it, and what moves a replica.

use super::*;
use crate::model::samples::version;

fn candidate(node: u64) -> Candidate<'static> {
    Candidate {
        node: NodeId::new(node),
        zone: "",
        worker: true,
        state: NodeState::Alive,
        suspect: false,
        slots: 4,
        in_flight: 0,
        held: 0,
        has_artifact: false,
        standing: Standing::Free,
    }
}

fn add(wanted: usize, candidates: &[Candidate<'_>]) -> Vec<u64> {
    let version = version("a", 1);
    let choice = place(PlacementRequest { version: &version, wanted }, candidates, &POLICY).unwrap();
    choice.add.iter().map(|node| node.get()).collect()
}

#[test]
fn whoever_cannot_hold_it_is_named() {
    let version = version("a", 1);
    let candidates = [
        Candidate { worker: false, ..candidate(1) },
        Candidate { state: NodeState::Dead, ..candidate(2) },
        Candidate { state: NodeState::Leaving, ..candidate(3) },
        Candidate { standing: Standing::Failed, ..candidate(4) },
    ];
    let request = PlacementRequest { version: &version, wanted: 2 };
    let unplaceable = place(request, &candidates, &POLICY).unwrap_err();
    assert_eq!(
        unplaceable.to_string(),
        "no node can hold a@1: node 1 is no worker, node 2 is dead, node 3 is leaving, node 4 cannot make it ready"
    );
    let few = place(request, &[candidates[1], candidate(9)], &POLICY).unwrap();
    assert_eq!((few.add, few.ruled_out.len()), (vec![NodeId::new(9)], 1));
}

#[test]
fn zones_come_before_load_and_load_before_fill() {
    let zoned = |node, zone| Candidate { zone, ..candidate(node) };
    let full = Candidate { held: 100, ..zoned(3, "z2") };
    let chosen = add(2, &[zoned(1, "z1"), zoned(2, "z1"), full]);
    assert!(chosen.contains(&3), "{chosen:?}");
    let busy = Candidate { in_flight: 4, ..candidate(1) };
    assert_eq!(add(1, &[busy, Candidate { held: 9, ..candidate(2) }]), [2]);
    let large = Candidate { held: 4, slots: 16, ..candidate(1) };
    assert_eq!(add(1, &[large, Candidate { held: 2, ..candidate(2) }]), [1], "fuller only for its size");
    let silent = Candidate { suspect: true, ..candidate(1) };
    assert_eq!(add(1, &[silent, Candidate { in_flight: 4, held: 50, ..candidate(2) }]), [2]);
    assert_eq!(add(2, &[silent, candidate(2)]), [2, 1], "where nobody else is left");
}

#[test]
fn versions_spread_over_equal_nodes() {
    let nodes: Vec<_> = (1..=10).map(candidate).collect();
    let mut times = BTreeMap::new();
    for number in 0..500 {
        let version = version("a", number);
        let choice = place(PlacementRequest { version: &version, wanted: 2 }, &nodes, &POLICY).unwrap();
        for node in choice.add {
            *times.entry(node).or_insert(0) += 1;
        }
    }
    assert!(times.len() == 10 && times.values().all(|times| (60..140).contains(times)), "{times:?}");
}

#[test]
fn a_move_has_to_be_worth_it() {
    let version = version("a", 1);
    let request = PlacementRequest { version: &version, wanted: 2 };
    let ready = |node, held| Candidate { standing: Standing::Ready, held, ..candidate(node) };
    let free = |node, held| Candidate { held, ..candidate(node) };
    let relocated = |candidates: &[Candidate<'_>]| relocate(request, candidates, &POLICY);
    let worth = Some(Move { from: NodeId::new(2), to: NodeId::new(3) });
    assert_eq!(relocated(&[ready(1, 10), ready(2, 20), free(3, 5)]), worth);
    assert_eq!(relocated(&[ready(1, 10), ready(2, 20), free(3, 16)]), None, "19 to 17 is no margin of 20 %");
    let silent = Candidate { suspect: true, ..ready(1, 10) };
    assert_eq!(relocated(&[silent, ready(2, 20), free(3, 5)]), None, "nothing moves while one is silent");
    let pending = Candidate { standing: Standing::Pending, ..ready(1, 10) };
    assert_eq!(relocated(&[pending, ready(2, 20), free(3, 5)]), None);
    let zoned = |zone, candidate: Candidate<'static>| Candidate { zone, ..candidate };
    let crowded = [zoned("z1", ready(1, 1)), zoned("z1", ready(2, 1)), zoned("z2", free(3, 9))];
    assert_eq!(relocated(&crowded), worth);
}

#[test]
fn a_surplus_goes_when_all_are_ready() {
    let version = version("a", 1);
    let request = PlacementRequest { version: &version, wanted: 2 };
    let ready = |node, held| Candidate { standing: Standing::Ready, held, ..candidate(node) };
    assert_eq!(surplus(request, &[ready(1, 1), ready(2, 7), ready(3, 2)]), [NodeId::new(2)]);
    let coming = Candidate { standing: Standing::Pending, ..candidate(3) };
    assert!(
        surplus(request, &[ready(1, 1), ready(2, 7), coming]).is_empty(),
        "it is what the other waits for"
    );
    let failed = Candidate { standing: Standing::Failed, ..candidate(3) };
    assert!(surplus(request, &[ready(1, 1), ready(2, 7), failed]).is_empty(), "a failed one does not count");
}
