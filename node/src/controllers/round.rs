//! One round over the controllers: decides whom it names and when it has ended.

use std::collections::VecDeque;

/// Controllers of one round: seven voters at most, some learners, and those that the node was given.
const NAMED_MAX: usize = 16;

/// What comes after a controller that answered and does so no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next one of the same round, at once.
    GoOn,
    /// Another round, so that the first ones are preferred.
    BeginAnew,
}

/// Who is still to be asked.
#[derive(Debug)]
pub(super) struct Round {
    left: VecDeque<String>,
    then: Then,
    answered: bool,
}

impl Round {
    /// Names each address once: a node's own ones in their order, then those that are known.
    pub(super) fn new(own: &[String], known: Vec<String>, then: Then) -> Self {
        let mut left = VecDeque::new();
        for address in own.iter().cloned().chain(known) {
            if left.len() < NAMED_MAX && !left.contains(&address) {
                left.push_back(address);
            }
        }
        Self { left, then, answered: false }
    }

    /// Whom to ask now; none when the round has ended.
    pub(super) fn next(&mut self) -> Option<String> {
        let ended = self.answered && self.then == Then::BeginAnew;
        if ended { None } else { self.left.pop_front() }
    }

    /// The one that was named last has answered.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }

    /// Whether any has.
    pub(super) const fn was_answered(&self) -> bool {
        self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn each_is_named_once_and_its_own_come_first() {
        let mut round = Round::new(&texts(&["c", "a"]), texts(&["a", "b", "c"]), Then::GoOn);
        let named: Vec<_> = std::iter::from_fn(|| round.next()).collect();
        assert_eq!(named, ["c", "a", "b"]);
        assert!(!round.was_answered());
    }

    #[test]
    fn a_round_is_bounded() {
        let many = (0..1000).map(|number| format!("n{number}:1")).collect();
        let mut round = Round::new(&texts(&["own:1"]), many, Then::GoOn);
        assert_eq!(std::iter::from_fn(|| round.next()).count(), NAMED_MAX);
    }

    #[test]
    fn after_an_answer_the_round_goes_on_or_ends() {
        for (then, next) in [(Then::GoOn, Some("b".to_owned())), (Then::BeginAnew, None)] {
            let mut round = Round::new(&texts(&["a", "b"]), Vec::new(), then);
            assert_eq!(round.next().as_deref(), Some("a"));
            round.answered();
            assert_eq!((round.next(), round.was_answered()), (next, true));
        }
    }
}
