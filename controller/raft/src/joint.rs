//! A change of the voters is two entries: one in which both sets decide, one that ends this. Whoever leads sees to the
//! second one, for whoever proposed the first may be gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::sleep;

use crate::member::Member;
use crate::state_machine::State;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Settles what nobody here is changing, for as long as the member lives.
pub(crate) async fn settle<S: State>(member: Arc<Member<S>>) {
    let mut metrics = member.raft.server_metrics();
    loop {
        if unsettled(&member) {
            // A change that is under way here ends by itself: it is waited for.
            let _changing = member.changing.lock().await;
            if unsettled(&member) {
                tracing::info!("settling a change of the voters that was cut off");
                let last = ChangeMembers::AddVoterIds(BTreeSet::new());
                if let Err(error) = member.raft.change_membership(last, true).await {
                    tracing::info!(%error, "not settled yet");
                }
            }
            sleep(PAUSE).await;
            if !member.has_ended() {
                continue;
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Whether this member leads, and both sets of voters decide by an entry that is committed.
fn unsettled<S: State>(member: &Member<S>) -> bool {
    let metrics = member.raft.server_metrics().borrow_watched().clone();
    let (newest, committed) = (&metrics.membership_config, &metrics.committed_membership_config);
    metrics.state.is_leader()
        && newest.membership().get_joint_config().len() > 1
        && newest.log_id() == committed.log_id()
}
