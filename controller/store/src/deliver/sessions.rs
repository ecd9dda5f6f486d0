//! What was given to each node, until it is known to have got it: pure.
//!
//! A node asks once at a time: with a newer request it has given up the one before, whose reply it will not hear. It names the last reply
//! that it heard; what it was given in any other one it never got.

use std::collections::{BTreeMap, BTreeSet};

use coracle_proto::id::NodeId;

use crate::model::Ticket;

/// Of one leader, in one term.
#[derive(Debug)]
pub(super) struct Sessions {
    term: u64,
    /// Numbers before this one are of earlier terms.
    first: u64,
    /// The last number that was given out, to a request or a reply.
    number: u64,
    of: BTreeMap<NodeId, Session>,
}

#[derive(Debug)]
struct Session {
    /// Which start of the node's process.
    id: u64,
    /// Its last request.
    request: u64,
    /// The reply that it had heard then.
    heard: u64,
    /// The number of the reply to that request, and what it gives; none: nothing yet.
    given: Option<(u64, Vec<Ticket>)>,
}

/// A request that is a node's last one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    /// Its number.
    pub(super) request: u64,
    /// What the node was given and never got.
    pub(super) unheard: Vec<Ticket>,
}

impl Sessions {
    /// Numbers begin beyond those of any term before.
    pub(super) const fn of_term(term: u64) -> Self {
        Self { term, first: term << 32, number: term << 32, of: BTreeMap::new() }
    }

    /// This replica leads in this term: what it had given in an earlier one is another leader's matter.
    pub(super) fn lead(&mut self, term: u64) {
        if self.term < term {
            *self = Self::of_term(term);
        }
    }

    /// A node asks, and has heard the reply of this number: what it was given in another one it never got. What its process before this
    /// one had is another matter: it may have run. None: the request is older than one that came before.
    pub(super) fn arrived(
        &mut self,
        node: NodeId,
        id: u64,
        heard: u64,
        running: &BTreeSet<Ticket>,
    ) -> Option<Arrived> {
        let request = self.next();
        let before = self.of.get_mut(&node).filter(|session| session.id == id);
        // One of an earlier term says nothing: a leader that was not one any more may have answered since.
        if before.as_ref().is_some_and(|session| (self.first..session.heard).contains(&heard)) {
            return None;
        }
        let given = before.and_then(|session| session.given.take());
        let unheard = given.filter(|(number, _)| *number != heard).map_or_else(Vec::new, |(_, given)| given);
        let unheard = unheard.into_iter().filter(|ticket| !running.contains(ticket)).collect();
        self.of.insert(node, Session { id, request, heard, given: None });
        Some(Arrived { request, unheard })
    }

    /// Notes what the reply to a request is about to give; its number. None: the node has asked again meanwhile, and will not hear it.
    pub(super) fn given(&mut self, node: NodeId, request: u64, tickets: Vec<Ticket>) -> Option<u64> {
        let number = self.next();
        let session = self.of.get_mut(&node).filter(|session| session.request == request)?;
        session.given = Some((number, tickets));
        Some(number)
    }

    /// The number of a reply that gives nothing.
    pub(super) const fn next(&mut self) -> u64 {
        self.number = self.number.saturating_add(1);
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Fence, Place};

    const NODE: NodeId = NodeId::new(7);

    fn ticket(message: u64) -> Ticket {
        let fence = Fence { term: 1, sequence: message };
        Ticket { queue: Place::parse("shop", "jobs").unwrap(), message, fence }
    }

    /// A request of session 1.
    fn asks(sessions: &mut Sessions, heard: u64, running: &[u64]) -> Arrived {
        let running = running.iter().map(|message| ticket(*message)).collect();
        sessions.arrived(NODE, 1, heard, &running).expect("it is no old one")
    }

    fn gives(sessions: &mut Sessions, request: u64, messages: &[u64]) -> Option<u64> {
        sessions.given(NODE, request, messages.iter().map(|message| ticket(*message)).collect())
    }

    #[test]
    fn what_a_reply_that_was_lost_had_given_comes_back() {
        let mut sessions = Sessions::of_term(3);
        let request = asks(&mut sessions, 0, &[]).request;
        let first = gives(&mut sessions, request, &[1, 2]).unwrap();
        let arrived = asks(&mut sessions, first, &[]);
        assert_eq!(arrived.unheard, [], "it has got them");
        let second = gives(&mut sessions, arrived.request, &[3, 4]).unwrap();
        assert!(second > first);
        let arrived = asks(&mut sessions, first, &[4]);
        assert_eq!(arrived.unheard, [ticket(3)], "one it has all the same");
        assert_eq!(asks(&mut sessions, first, &[4]).unheard, [], "it is told once");
    }

    #[test]
    fn a_request_that_was_given_up_is_given_nothing() {
        let mut sessions = Sessions::of_term(3);
        let first = asks(&mut sessions, 0, &[]).request;
        let second = asks(&mut sessions, 0, &[]).request;
        assert_eq!(gives(&mut sessions, first, &[1]), None, "nobody listens");
        let number = gives(&mut sessions, second, &[2]).unwrap();
        assert_eq!(asks(&mut sessions, number, &[]).unheard, []);
    }

    #[test]
    fn a_number_that_is_greater_is_not_one_that_was_heard() {
        let mut sessions = Sessions::of_term(3);
        let request = asks(&mut sessions, 0, &[]).request;
        gives(&mut sessions, request, &[1]).unwrap();
        let later = sessions.next();
        assert_eq!(asks(&mut sessions, later, &[]).unheard, [ticket(1)]);
    }

    #[test]
    fn a_request_that_comes_late_changes_nothing() {
        let mut sessions = Sessions::of_term(3);
        let request = asks(&mut sessions, 0, &[]).request;
        let first = gives(&mut sessions, request, &[1]).unwrap();
        let request = asks(&mut sessions, first, &[1]).request;
        let second = gives(&mut sessions, request, &[2]).unwrap();
        let request = asks(&mut sessions, second, &[1, 2]).request;
        assert_eq!(sessions.arrived(NODE, 1, first, &BTreeSet::new()), None);
        assert!(gives(&mut sessions, request, &[3]).is_some(), "the newer one is still answered");
    }

    #[test]
    fn whom_a_leader_of_an_earlier_term_answered_meanwhile_is_let_in() {
        let mut sessions = Sessions::of_term(3);
        let mut earlier = Sessions::of_term(2);
        let request = asks(&mut sessions, 0, &[]).request;
        let number = gives(&mut sessions, request, &[1]).unwrap();
        let _ = asks(&mut sessions, number, &[1]);
        let stale = earlier.next();
        assert_eq!(asks(&mut sessions, stale, &[1]).unheard, []);
    }

    #[test]
    fn what_a_process_had_that_ended_is_not_given_back() {
        let mut sessions = Sessions::of_term(3);
        let request = asks(&mut sessions, 0, &[]).request;
        let number = gives(&mut sessions, request, &[1]).unwrap();
        let arrived = sessions.arrived(NODE, 2, 0, &BTreeSet::new()).unwrap();
        assert_eq!(arrived.unheard, [], "it may have run it, and died of it");
        assert!(number < arrived.request, "and its numbers count for nothing");
    }

    #[test]
    fn another_term_begins_anew_beyond_all_numbers() {
        let mut sessions = Sessions::of_term(3);
        let request = asks(&mut sessions, 0, &[]).request;
        let number = gives(&mut sessions, request, &[1]).unwrap();
        sessions.lead(3);
        sessions.lead(2);
        assert_eq!(asks(&mut sessions, 0, &[]).unheard, [ticket(1)], "it leads in the same one");
        let request = asks(&mut sessions, 0, &[]).request;
        gives(&mut sessions, request, &[2]).unwrap();
        sessions.lead(4);
        assert_eq!(gives(&mut sessions, request, &[3]), None, "a request of the term before");
        let arrived = asks(&mut sessions, number, &[]);
        assert_eq!(arrived.unheard, [], "claims of an earlier term are not this one's to give back");
        assert!(arrived.request > number + 1000);
    }
}
