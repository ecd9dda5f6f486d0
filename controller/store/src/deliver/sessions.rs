//! What was given to each node, until it is known to have got it: pure.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::NodeId;

use crate::model::Ticket;

/// Of one leader, in one term.
#[derive(Debug)]
pub(super) struct Sessions {
    /// Of the last reply that gave something.
    number: u64,
    of: BTreeMap<NodeId, Session>,
}

#[derive(Debug)]
struct Session {
    /// Which start of the node's process.
    id: u64,
    /// In which reply each was given; fewer than a node has places.
    given: Vec<(u64, Ticket)>,
}

impl Sessions {
    /// Numbers of replies begin beyond those of any term before.
    pub(super) const fn of_term(term: u64) -> Self {
        Self { number: term << 32, of: BTreeMap::new() }
    }

    /// The node asks again, and has heard the reply of this number: what it was given after that it never got. What its process
    /// before this one had is another matter: it may have run.
    pub(super) fn arrived(
        &mut self,
        node: NodeId,
        id: u64,
        heard: u64,
        running: &BTreeSet<Ticket>,
    ) -> Vec<Ticket> {
        let Some(session) = self.of.remove(&node).filter(|session| session.id == id) else {
            return Vec::new();
        };
        let unheard = session.given.into_iter().filter(|(number, _)| *number > heard);
        unheard.map(|(_, ticket)| ticket).filter(|ticket| !running.contains(ticket)).collect()
    }

    /// Notes what a node is given now; the number of the reply.
    pub(super) fn given(&mut self, node: NodeId, id: u64, tickets: &[Ticket]) -> u64 {
        self.number += 1;
        let session = self.of.entry(node).or_insert(Session { id, given: Vec::new() });
        if session.id != id {
            *session = Session { id, given: Vec::new() };
        }
        session.given.extend(tickets.iter().map(|ticket| (self.number, ticket.clone())));
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fence, Place};

    fn ticket(message: u64) -> Ticket {
        let fence = Fence { term: 1, sequence: message };
        Ticket { queue: Place::parse("shop", "jobs").unwrap(), message, fence }
    }

    #[test]
    fn what_a_reply_that_was_lost_had_given_comes_back() {
        let (node, mut sessions) = (NodeId::new(7), Sessions::of_term(3));
        let first = sessions.given(node, 1, &[ticket(1), ticket(2)]);
        assert!(sessions.arrived(node, 1, first, &BTreeSet::new()).is_empty(), "it has got them");
        let second = sessions.given(node, 1, &[ticket(3), ticket(4)]);
        assert!(second > first);
        let running = BTreeSet::from([ticket(4)]);
        assert_eq!(sessions.arrived(node, 1, first, &running), [ticket(3)], "one it has all the same");
        assert!(sessions.arrived(node, 1, first, &running).is_empty(), "it is told once");
    }

    #[test]
    fn what_a_process_had_that_ended_is_not_given_back() {
        let (node, mut sessions) = (NodeId::new(7), Sessions::of_term(3));
        let _ = sessions.given(node, 1, &[ticket(1)]);
        assert!(
            sessions.arrived(node, 2, 0, &BTreeSet::new()).is_empty(),
            "it may have run it, and died of it"
        );
    }

    #[test]
    fn numbers_of_a_later_term_are_greater() {
        let (mut earlier, mut later) = (Sessions::of_term(3), Sessions::of_term(4));
        for _ in 0..10 {
            let _ = earlier.given(NodeId::new(1), 1, &[]);
        }
        assert!(later.given(NodeId::new(1), 1, &[]) > earlier.given(NodeId::new(1), 1, &[]));
    }
}
