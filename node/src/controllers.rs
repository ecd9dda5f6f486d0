//! The cluster's controllers, as this node asks them: one after the other, in rounds, with pauses that grow while none answers.

mod round;

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::sleep;

use self::round::Round;
pub(crate) use self::round::Then;

/// Between two rounds: as long as none answers each pause is twice the one before, and random, so that the nodes of a cluster do
/// not ask all at once.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Whom to ask, and when.
#[derive(Debug)]
pub(crate) struct Controllers {
    /// Those that this node was given.
    own: Vec<String>,
    then: Then,
    /// None between two rounds, and before the first one.
    round: Option<Round>,
    pauses: ExponentialBackoff,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Ask(String),
    Pause(Duration),
}

impl Controllers {
    /// The controllers that this node was given, its own first.
    pub(crate) fn new(own: Vec<String>, then: Then) -> Self {
        Self { own, then, round: None, pauses: pauses() }
    }

    /// The next one, after a pause where a round has ended. After its own this node asks those that are `known` when a round
    /// begins.
    pub(crate) async fn next(&mut self, known: impl Fn() -> Vec<String>) -> String {
        loop {
            match self.step(&known) {
                Step::Ask(controller) => return controller,
                Step::Pause(pause) => sleep(pause).await,
            }
        }
    }

    fn step(&mut self, known: impl Fn() -> Vec<String>) -> Step {
        let round = self.round.get_or_insert_with(|| Round::new(&self.own, known(), self.then));
        if let Some(next) = round.next() {
            return Step::Ask(next);
        }
        if round.was_answered() {
            self.pauses = pauses();
        }
        self.round = None;
        Step::Pause(self.pauses.next().unwrap_or(PAUSE_MAX))
    }

    /// The one that was named last has answered, and does so no more.
    pub(crate) fn answered(&mut self) {
        if let Some(round) = &mut self.round {
            round.answered();
        }
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(controller: &str) -> Step {
        Step::Ask(controller.to_owned())
    }

    #[test]
    fn pauses_grow_until_one_answers() {
        let mut controllers = Controllers::new(vec!["a:1".to_owned()], Then::GoOn);
        let mut pause = |answers: bool| {
            assert_eq!(controllers.step(Vec::new), ask("a:1"));
            if answers {
                controllers.answered();
            }
            let Step::Pause(pause) = controllers.step(Vec::new) else {
                panic!("one round has one controller")
            };
            pause
        };
        let pauses: Vec<_> = (0..8).map(|_| pause(false)).collect();
        assert!(pauses.first().is_some_and(|first| *first < PAUSE_MAX), "{pauses:?}");
        assert!(pauses.last().is_some_and(|last| *last >= PAUSE_MAX), "{pauses:?}");
        assert!(pause(true) < PAUSE_MAX);
    }

    #[test]
    fn each_round_asks_those_that_are_known_by_then() {
        let mut controllers = Controllers::new(Vec::new(), Then::GoOn);
        assert!(matches!(controllers.step(Vec::new), Step::Pause(_)), "nobody is known");
        let known = || vec!["late:1".to_owned()];
        assert_eq!(controllers.step(known), ask("late:1"));
        assert!(matches!(controllers.step(known), Step::Pause(_)));
        assert_eq!(controllers.step(known), ask("late:1"));
    }
}
