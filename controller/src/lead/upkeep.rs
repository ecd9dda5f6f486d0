//! Keeps the cluster's own record, and raises what somebody should look at: a few times a second, for nothing here is urgent.

use std::time::{Duration, Instant};

use coracle_proto::id::Revision;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::info;

use super::duty::{Agenda, Duty, Leading, drive};
use crate::alarms::absurd_term;
use crate::model::Command;
use crate::soft::TOLD_WITHIN;
use crate::upkeep::{Findings, next, other_stores};

/// A cluster that was off for a month catches up in some minutes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs until it is dropped.
pub(super) async fn keep(leading: Leading<'_>) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    drive(Upkeep { leading, ticks, findings: Findings::default() }).await;
}

/// What the last looks found.
#[derive(Debug)]
struct Upkeep<'a> {
    leading: Leading<'a>,
    ticks: Interval,
    findings: Findings,
}

impl Duty for Upkeep<'_> {
    const NAME: &'static str = "upkeep";

    type Act = Command;

    async fn wake(&mut self) {
        self.ticks.tick().await;
    }

    fn plan(&mut self, now: Instant) -> Agenda<Command> {
        let context = self.leading.context;
        context.soft.set_alarms(Self::NAME, self.alarms(now));
        let told = context.soft.formats(now, TOLD_WITHIN);
        let time_ms = context.clock.undisputed_at(now);
        Agenda::of(next(&context.hub.state(), context.node, &told, time_ms))
    }

    async fn act(&mut self, command: Command) -> Result<(), String> {
        if let Command::RaiseFormat { format } = command {
            info!(format, "every controller reads this format: commands of it may be proposed from now on");
        }
        self.leading.decide(command).await.map(drop)
    }
}

impl Upkeep<'_> {
    /// What somebody should look at, and every node should know of.
    fn alarms(&mut self, now: Instant) -> Vec<String> {
        let context = self.leading.context;
        let status = context.raft.status();
        let seen = context.soft.nodes();
        let seen =
            seen.iter().map(|(node, seen)| (*node, Revision::new(seen.status.view_revision))).collect();
        // Last, for what the nodes have seen is older than it.
        let state = context.hub.state();
        let mut alarms = self.findings.look(now, status.joint, state.revision(), &seen);
        alarms.extend(absurd_term(&status));
        alarms.extend(other_stores(&state, &context.soft.stores()));
        alarms
    }
}
