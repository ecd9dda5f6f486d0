//! Who gets how many messages of which queue: pure.
//!
//! Queues come in the order of their turns and share what a node takes; the messages of a queue are spread over the nodes that
//! wait, those with most free places first.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Place;

/// Messages of one reply: with bodies of the greatest size they are 3 MiB.
pub(super) const TAKE_MOST: usize = 32;

/// A queue with messages that may be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    pub(super) queue: Place,
    pub(super) messages: usize,
}

/// A node that waits for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taker {
    /// How many it would run.
    pub(super) places: usize,
    /// Of these it wants none.
    pub(super) full: BTreeSet<Place>,
}

/// What is to be claimed: of which queue, for whom, how many. Both by their places in what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Share {
    pub(super) queue: usize,
    pub(super) taker: usize,
    pub(super) most: usize,
}

/// Shares out what is ready, as far as there are places for it.
pub(super) fn plan(ready: &[Ready], takers: &[Taker]) -> Vec<Share> {
    let mut places: Vec<usize> = takers.iter().map(|taker| taker.places.min(TAKE_MOST)).collect();
    let mut left: Vec<usize> = ready.iter().map(|it| it.messages).collect();
    let mut shares = BTreeMap::new();
    // Each round gives every queue that still has something its part of what is free: at least one message, so it ends.
    while round(ready, takers, (&mut left, &mut places), &mut shares) {}
    shares.into_iter().map(|((queue, taker), most)| Share { queue, taker, most }).collect()
}

fn round(
    ready: &[Ready],
    takers: &[Taker],
    (left, places): (&mut [usize], &mut [usize]),
    shares: &mut BTreeMap<(usize, usize), usize>,
) -> bool {
    let mut given = false;
    let mut waiting = left.iter().filter(|left| **left > 0).count();
    for (queue, (it, left)) in ready.iter().zip(left).enumerate().filter(|(_, (_, left))| **left > 0) {
        let mut willing: Vec<(usize, &mut usize)> = places
            .iter_mut()
            .enumerate()
            .filter(|(taker, places)| {
                **places > 0 && takers.get(*taker).is_some_and(|taker| !taker.full.contains(&it.queue))
            })
            .collect();
        willing.sort_by_key(|(taker, places)| (std::cmp::Reverse(**places), *taker));
        let part = left.div_ceil(willing.len().max(1));
        for (taker, places) in willing {
            let most = part.min(*left).min((*places / waiting.max(1)).max(1));
            if most > 0 {
                *shares.entry((queue, taker)).or_insert(0) += most;
                *places -= most;
                *left -= most;
                given = true;
            }
        }
        waiting -= 1;
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(queues: &[(&str, usize)]) -> Vec<Ready> {
        let one = |(name, messages): &(&str, usize)| Ready {
            queue: Place::parse("shop", name).unwrap(),
            messages: *messages,
        };
        queues.iter().map(one).collect()
    }

    fn takers(places: &[usize]) -> Vec<Taker> {
        places.iter().map(|places| Taker { places: *places, full: BTreeSet::new() }).collect()
    }

    fn shares(ready: &[Ready], takers: &[Taker]) -> Vec<(usize, usize, usize)> {
        plan(ready, takers).into_iter().map(|it| (it.queue, it.taker, it.most)).collect()
    }

    #[test]
    fn a_single_message_goes_to_the_node_with_most_places() {
        assert_eq!(shares(&ready(&[("a", 1)]), &takers(&[3, 9, 8])), [(0, 1, 1)]);
    }

    #[test]
    fn messages_of_a_queue_are_spread() {
        assert_eq!(shares(&ready(&[("a", 6)]), &takers(&[10, 10, 10])), [(0, 0, 2), (0, 1, 2), (0, 2, 2)]);
        assert_eq!(shares(&ready(&[("a", 6)]), &takers(&[1, 10])), [(0, 0, 1), (0, 1, 5)]);
    }

    #[test]
    fn a_long_queue_leaves_room_for_the_others() {
        let given = shares(&ready(&[("long", 1_000_000), ("a", 1), ("b", 2)]), &takers(&[8]));
        assert_eq!(given, [(0, 0, 5), (1, 0, 1), (2, 0, 2)]);
        // Where there are more queues than places those whose turn it is have them.
        let many: Vec<_> = (0..10).map(|_| ("q", 5)).collect();
        assert_eq!(shares(&ready(&many), &takers(&[3])), [(0, 0, 1), (1, 0, 1), (2, 0, 1)]);
    }

    #[test]
    fn nobody_gets_what_it_does_not_want_or_has_no_room_for() {
        let mut nodes = takers(&[5, 500]);
        nodes[0].full.insert(Place::parse("shop", "a").unwrap());
        assert_eq!(shares(&ready(&[("a", 1000)]), &nodes), [(0, 1, TAKE_MOST)]);
        assert_eq!(shares(&ready(&[("a", 1000)]), &takers(&[0])), []);
        assert_eq!(shares(&[], &takers(&[4])), []);
    }

    /// No share is more than what is there, whatever comes.
    #[test]
    fn what_is_shared_out_is_there() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut word = seed;
        let mut draw = |below: usize| {
            word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            usize::try_from(word >> 33).unwrap() % below
        };
        for _ in 0..2000 {
            let queues: Vec<_> = (0..draw(6)).map(|at| (["a", "b", "c", "d", "e"][at], draw(50))).collect();
            let nodes: Vec<_> = (0..draw(5)).map(|_| draw(40)).collect();
            let given = shares(&ready(&queues), &takers(&nodes));
            let of_queue = |at| given.iter().filter(|it| it.0 == at).map(|it| it.2).sum::<usize>();
            let of_taker = |at| given.iter().filter(|it| it.1 == at).map(|it| it.2).sum::<usize>();
            let taken: usize = given.iter().map(|it| it.2).sum();
            for (at, (_, messages)) in queues.iter().enumerate() {
                assert!(of_queue(at) <= *messages);
            }
            for (at, places) in nodes.iter().enumerate() {
                assert!(of_taker(at) <= (*places).min(TAKE_MOST));
            }
            let (wanted, free) = (
                queues.iter().map(|it| it.1).sum::<usize>(),
                nodes.iter().map(|it| (*it).min(TAKE_MOST)).sum::<usize>(),
            );
            assert_eq!(taken, wanted.min(free), "{queues:?} {nodes:?}: nothing that has a place waits");
        }
    }
}
