//! What the leader of a group has it do by itself: its clock goes on while nobody asks for anything, and what has become due is done.

use std::time::Duration;

use coracle_proto::id::GroupId;
use coracle_raft::{Role, Stop, View};
use tracing::info;

use crate::clock;
use crate::model::{self, Asked, Due, OP_STEPS_MAX, Op, Outcome, TIME_STEP_MAX_MS};
use crate::replicas::Served;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Half of what an entry may bring the clock on: the next entry is stamped right.
const LAG_MAX_MS: u64 = TIME_STEP_MAX_MS / 2;
/// Entries of one look: others of the group have their turn between them, and what is left is done at the next one.
const ENTRIES_MAX: u32 = 64;

/// Runs until it is dropped.
pub(crate) async fn tend(group: GroupId, served: Served) {
    let mut status = served.replica.watch();
    while status.until(|now| now.role == Role::Leader).await.is_some() {
        for _ in 0..ENTRIES_MAX {
            if !is_due(&served.replica.state()).unwrap_or(false) {
                break;
            }
            let steps = u32::try_from(OP_STEPS_MAX).unwrap_or(u32::MAX);
            let sweep = Asked { request: None, op: Op::Sweep { due: Due::Values, steps } };
            match served.proposer.propose(sweep).await {
                Ok(Outcome::Refused(why)) => {
                    info!(%group, %why, "what is due is not done yet");
                    break;
                }
                Ok(_) => {}
                Err(refusal) => {
                    info!(%group, %refusal, "what is due is not done yet");
                    break;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether an entry of its own is to be made. A group in which there never was one has nothing that could be late.
fn is_due(view: &View) -> Result<bool, Stop> {
    let now_ms = clock::unix_ms();
    let Some(group) = model::group(view)? else { return Ok(false) };
    let late = group.time_ms.saturating_add(LAG_MAX_MS) < now_ms;
    Ok(late || model::due(view, Due::Values)?.is_some_and(|at_ms| at_ms <= now_ms))
}
