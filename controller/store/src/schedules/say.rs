//! The ticks of one schedule that are due, said.

use std::sync::Arc;

use coracle_proto::id::InvocationId;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use super::plan::{self, Step};
use crate::cron::Timetable;
use crate::model::{self, Asked, Op, Outcome, Place, Schedule, Tick};
use crate::replicas::Served;

/// Schedules of one group whose times are reckoned at once: the other threads have other things to do.
pub(super) const RECKONED_MAX: usize = 2;

/// What is asked of one schedule in one round.
pub(super) struct Asking {
    pub(super) now_ms: u64,
    /// Late ones that have fired since it was on time last.
    pub(super) late: u64,
    pub(super) reckoning: Arc<Semaphore>,
}

/// What became of it.
pub(super) struct Said {
    /// Why it waits; none: all that was to be said counts now.
    pub(super) waits: Option<String>,
    /// As it was asked, and those that have fired since.
    pub(super) late: u64,
}

impl Asking {
    async fn plan(&self, schedule: &Schedule, table: &Arc<Timetable>) -> Result<Vec<Step>, JoinError> {
        // It is never closed.
        let _turn = self.reckoning.acquire().await.ok();
        let (table, missed) = (Arc::clone(table), schedule.definition.missed);
        let (cursor_ms, now_ms, late) = (schedule.cursor_ms, self.now_ms, self.late);
        tokio::task::spawn_blocking(move || plan::steps(missed, &table, cursor_ms, now_ms, late)).await
    }
}

/// Says the first ticks of one schedule, one after the other: a later one would make an earlier one late.
pub(super) async fn tick(asked: &Asking, served: &Served, place: &Place, table: &Arc<Timetable>) -> Said {
    let Asking { now_ms, late, .. } = *asked;
    let schedule = match model::schedule(&served.replica.state(), place) {
        Ok(Some(schedule)) => schedule,
        Ok(None) => return Said { waits: None, late: 0 },
        Err(stop) => {
            return Said { waits: Some(stop.to_string()), late };
        }
    };
    let steps = match asked.plan(&schedule, table).await {
        Ok(steps) => steps,
        Err(error) => {
            return Said { waits: Some(error.to_string()), late };
        }
    };
    let catches_up = steps.first().is_some_and(|step| plan::is_late(step.at_ms, now_ms));
    let mut said = Said { waits: None, late: if catches_up { late } else { 0 } };
    for step in steps {
        let invocation = step.fires.then(|| InvocationId::new(rand::random()));
        let (at_ms, missed, revision) = (step.at_ms, step.missed, schedule.revision);
        let tick = Tick { schedule: place.clone(), revision, at_ms, missed, invocation };
        match served.proposer.propose(Asked { request: None, op: Op::Tick(tick) }).await {
            // It was changed, or was said by another one: the records say how it goes on.
            Ok(Outcome::Refused(why)) if is_over(&why) => return said,
            Ok(Outcome::Refused(why)) => {
                return Said { waits: Some(why.to_string()), ..said };
            }
            Ok(_) => said.late += u64::from(step.fires && plan::is_late(at_ms, now_ms)),
            Err(refusal) => {
                return Said { waits: Some(refusal.to_string()), ..said };
            }
        }
    }
    said
}

const fn is_over(why: &model::Refusal) -> bool {
    matches!(why.reason, model::Reason::Late | model::Reason::Mismatch | model::Reason::NoSchedule)
}
