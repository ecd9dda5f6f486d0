//! The shape of all that the leader does beside Raft: something wakes it, it looks at what is known and decides, it does what
//! was decided, and waits again.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::clock;
use crate::context::Context;
use crate::model::Command;
use crate::propose::{Ask, Decided, propose};

/// What was decided is decided anew where it was not taken over by then.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The leader, for one term.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leading<'a> {
    pub(super) context: &'a Context,
    pub(super) term: u64,
}

impl Leading<'_> {
    /// Proposes what it decided by itself.
    pub(super) async fn decide(self, command: Command) -> Result<Decided, String> {
        let ask = Ask::decided(self.context, self.term, command);
        let decided = propose(self.context, ask, clock::now() + PROPOSE_TIMEOUT).await;
        decided.map_err(|refusal| refusal.to_string())
    }
}

/// One of its duties. What a duty knows ends with the term.
pub(super) trait Duty {
    /// For logs, and the name under which it raises alarms.
    const NAME: &'static str;

    /// Whether its acts are small steps of which many take several tries: one that is not done yet is told with what it was,
    /// and is nothing to be warned of.
    const RETRIED: bool = false;

    /// One thing to do.
    type Act: Debug;

    /// Waits until it is worth looking, the first time too.
    async fn wake(&mut self);

    /// Looks at what is known at `now` and decides, by pure parts.
    fn plan(&mut self, now: Instant) -> Agenda<Self::Act>;

    /// Does one thing; the error says why it was not done.
    async fn act(&mut self, act: Self::Act) -> Result<(), String>;
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
pub(super) async fn drive<D: Duty>(mut duty: D) {
    loop {
        duty.wake().await;
        while look(&mut duty).await {}
    }
}

/// Looks once, and does what was decided. Answers whether to look again at once.
async fn look<D: Duty>(duty: &mut D) -> bool {
    let Agenda { acts, more } = duty.plan(clock::now());
    let mut done = false;
    for act in acts {
        // What other duties do may be long, and they tell it themselves before they try.
        let step = D::RETRIED.then(|| format!("{act:?}"));
        if let Err(reason) = duty.act(act).await {
            match step {
                Some(step) => info!(duty = D::NAME, step, reason, "not done yet"),
                None => warn!(duty = D::NAME, reason, "not done yet"),
            }
            return false;
        }
        done = true;
    }
    more && done
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::sync::mpsc;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Decides what it was given, tells what it does, and fails at 0.
    struct Scripted<const RETRIED: bool> {
        plans: VecDeque<Agenda<u8>>,
        told: mpsc::UnboundedSender<String>,
    }

    impl<const RETRIED: bool> Duty for Scripted<RETRIED> {
        const NAME: &'static str = "scripted";

        const RETRIED: bool = RETRIED;

        type Act = u8;

        async fn wake(&mut self) {
            self.told.send("wake".to_owned()).unwrap();
            if self.plans.is_empty() {
                std::future::pending::<()>().await;
            }
        }

        fn plan(&mut self, _: Instant) -> Agenda<u8> {
            self.plans.pop_front().unwrap_or_else(|| Agenda::of([]))
        }

        async fn act(&mut self, act: u8) -> Result<(), String> {
            self.told.send(act.to_string()).unwrap();
            if act == 0 { Err("as it was told".to_owned()) } else { Ok(()) }
        }
    }

    /// What a duty with these plans does until it has nothing left to wake for.
    async fn done(plans: impl IntoIterator<Item = Agenda<u8>>) -> String {
        let (told, mut said) = mpsc::unbounded_channel();
        let plans: VecDeque<_> = plans.into_iter().collect();
        let wakes = drive(Scripted::<false> { plans, told });
        tokio::pin!(wakes);
        assert!(futures::poll!(&mut wakes).is_pending());
        let mut all = Vec::new();
        while let Ok(one) = said.try_recv() {
            all.push(one);
        }
        all.join(" ")
    }

    #[tokio::test]
    async fn it_waits_before_each_look_unless_there_is_more() {
        let more = |acts: &[u8]| Agenda { acts: acts.to_vec(), more: true };
        assert_eq!(done([Agenda::of([1, 2]), Agenda::of([3])]).await, "wake 1 2 wake 3 wake");
        assert_eq!(done([more(&[1]), more(&[2]), Agenda::of([3])]).await, "wake 1 2 3 wake");
        assert_eq!(done([more(&[]), more(&[1])]).await, "wake wake 1 wake", "nothing is no more");
    }

    #[tokio::test]
    async fn what_is_not_done_ends_the_look() {
        let more = |acts: &[u8]| Agenda { acts: acts.to_vec(), more: true };
        assert_eq!(done([more(&[1, 0, 2]), Agenda::of([3])]).await, "wake 1 0 wake 3 wake");
    }

    /// Keeps the level of each event, and what it says.
    struct Listener(mpsc::UnboundedSender<String>);

    impl Subscriber for Listener {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.send(line.0).unwrap();
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.push_str(&format!(" {field}={value:?}"));
        }
    }

    /// What is logged of an act that is not done.
    async fn logged<const RETRIED: bool>() -> String {
        let (told, _said) = mpsc::unbounded_channel();
        let (lines, mut heard) = mpsc::unbounded_channel();
        let _listening = tracing::subscriber::set_default(Listener(lines));
        let mut duty = Scripted::<RETRIED> { plans: [Agenda::of([0])].into(), told };
        assert!(!look(&mut duty).await);
        std::iter::from_fn(|| heard.try_recv().ok()).find(|line| line.contains("not done yet")).unwrap()
    }

    #[tokio::test]
    async fn a_step_that_is_tried_again_is_named_and_warns_nobody() {
        let line = logged::<true>().await;
        assert!(line.starts_with("INFO") && line.contains("step=\"0\""), "{line}");
        let line = logged::<false>().await;
        assert!(line.starts_with("WARN") && line.contains("reason=\"as it was told\""), "{line}");
    }
}
