//! The shape of all that the leader does beside Raft: something wakes it, it looks at what is known and decides, it does what
//! was decided, and waits again.

use std::time::{Duration, Instant};

use tracing::info;

use crate::clock;
use crate::context::Context;
use crate::model::Command;
use crate::propose::{Ask, Decided, propose};

/// What was decided is decided anew where it was not taken over by then.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// One of the leader's duties, for one term. What it knows ends with the term.
pub(super) trait Duty {
    /// For logs, and the name under which it raises alarms.
    const NAME: &'static str;

    /// One thing to do.
    type Act;

    /// Waits until it is worth looking, the first time too.
    async fn wake(&mut self, context: &Context);

    /// Looks at what is known at `now` and decides, by pure parts. Asked again with nothing changed it decides the same.
    fn plan(&mut self, context: &Context, now: Instant) -> Agenda<Self::Act>;

    /// Does one thing; the error says why it was not done.
    async fn act(&mut self, context: &Context, term: u64, act: Self::Act) -> Result<(), String>;
}

/// What one look decided.
#[derive(Debug)]
pub(super) struct Agenda<A> {
    /// In this order. The first one that is not done is the last one that is tried.
    pub(super) acts: Vec<A>,
    /// When all of it is done there is more to decide: nothing is waited for.
    pub(super) more: bool,
}

impl<A> Agenda<A> {
    /// These, if there are any, and then a pause.
    pub(super) fn of(acts: impl IntoIterator<Item = A>) -> Self {
        Self { acts: acts.into_iter().collect(), more: false }
    }
}

/// Does a duty until it is dropped.
pub(super) async fn drive<D: Duty>(mut duty: D, context: &Context, term: u64) {
    loop {
        duty.wake(context).await;
        while look(&mut duty, context, term).await {}
    }
}

/// Looks once, and does what was decided. Answers whether to look again at once.
async fn look<D: Duty>(duty: &mut D, context: &Context, term: u64) -> bool {
    let Agenda { acts, more } = duty.plan(context, clock::now());
    let mut done = false;
    for act in acts {
        if let Err(reason) = duty.act(context, term, act).await {
            info!(duty = D::NAME, reason, "not done yet");
            return false;
        }
        done = true;
    }
    more && done
}

/// Proposes what the leader of this term decided by itself.
pub(super) async fn decide(context: &Context, term: u64, command: Command) -> Result<Decided, String> {
    let ask = Ask::decided(context, term, command);
    let decided = propose(context, ask, clock::now() + PROPOSE_TIMEOUT).await;
    decided.map_err(|refusal| refusal.to_string())
}
