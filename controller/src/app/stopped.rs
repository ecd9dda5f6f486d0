//! What ends a controller although nobody told it to, and why: its log stopped, or the cluster removed it.

use coracle_raft::Role;

use super::RunError;
use crate::context::Context;

/// Returns when the controller has nothing left to do here.
pub(super) async fn stopped(context: &Context) -> RunError {
    tokio::select! {
        () = context.removed.cancelled() => RunError::Removed { node: context.node },
        error = log_stopped(context) => error,
    }
}

async fn log_stopped(context: &Context) -> RunError {
    let mut watch = context.raft.watch();
    let status = watch.until(|status| status.role == Role::Stopped).await;
    // One that ended before it could tell is asked once more.
    let status = status.unwrap_or_else(|| watch.current());
    let reason = status.stopped.unwrap_or_else(|| "raft has ended".to_owned());
    RunError::Stopped { reason, halted: status.halted, tainted: status.tainted }
}
