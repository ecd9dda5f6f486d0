//! How a version comes up on its nodes, told from the state and the reported phases.

use std::time::Duration;

use coracle_proto::id::{FunctionId, VersionId, VersionNumber};
use coracle_proto::pb::RolloutEvent;
use coracle_proto::record::{NodeState, Role};
use coracle_proto::status::{Code, Refusal};
use tokio::sync::mpsc;
use tonic::Status;

use super::overview::{is_ready, replicas};
use crate::context::Context;

/// Changes that come within this time are told together.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells each change until the version is ready on as many nodes as it can be and takes calls, or the client leaves.
pub(super) async fn rollout(
    context: &Context,
    function: FunctionId,
    version: VersionNumber,
    out: mpsc::Sender<Result<RolloutEvent, Status>>,
) {
    let mut revisions = context.hub.subscribe();
    let mut softs = context.soft.subscribe();
    let mut told = None;
    loop {
        revisions.mark_unchanged();
        softs.mark_unchanged();
        let event = match progress(context, &function, version) {
            Ok(event) => event,
            Err(refusal) => {
                // A client that left needs no reason.
                let _ = out.send(Err(refusal.into())).await;
                return;
            }
        };
        let done = event.done;
        if told.as_ref() != Some(&event) {
            told = Some(event.clone());
            if out.send(Ok(event)).await.is_err() {
                return;
            }
        }
        if done {
            return;
        }
        tokio::select! {
            changed = revisions.changed() => if changed.is_err() { return },
            changed = softs.changed() => if changed.is_err() { return },
            () = out.closed() => return,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn progress(
    context: &Context,
    function: &FunctionId,
    number: VersionNumber,
) -> Result<RolloutEvent, Refusal> {
    let state = context.hub.state();
    let record = state
        .function(function)
        .ok_or_else(|| Refusal::new(Code::FunctionNotFound, format!("there is no function '{function}'")))?;
    let number = if number.get() == 0 { record.wanted_version() } else { number };
    let id = VersionId { function: function.clone(), number };
    let version = state
        .version(&id)
        .ok_or_else(|| Refusal::new(Code::VersionNotFound, format!("there is no version '{id}'")))?;
    if !record.kept().contains(&number) {
        let sentence = format!("'{id}' takes no calls any more, and none wait for it");
        return Err(Refusal::new(Code::Conflict, sentence));
    }
    let wanted = version.spec.replicas();
    let takes = |node: &&coracle_proto::record::Node| node.is(Role::Worker) && node.state == NodeState::Alive;
    let workers = u32::try_from(state.nodes().filter(takes).count()).unwrap_or(u32::MAX);
    let replicas = replicas(&state, &context.soft.nodes(), &id);
    let ready = replicas.iter().filter(|replica| is_ready(replica)).count();
    let ready = u32::try_from(ready).unwrap_or(u32::MAX);
    let unplaceable = match workers < wanted {
        true => format!("{wanted} nodes are wanted, {workers} can take it"),
        false => String::new(),
    };
    let done = ready > 0 && ready >= wanted.min(workers) && record.serves(number);
    Ok(RolloutEvent { wanted, ready, replicas, unplaceable, done })
}
