//! Asks workers whether they hold an artifact, and renews its grace there.

use std::time::Duration;

use coracle_proto::id::Digest;
use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_proto::pb::{StatReply, StatRequest};
use coracle_proto::record::{Kind, Node, NodeState, Role};
use coracle_proto::status::{Code, Refusal};
use coracle_proto::trace;
use futures::future::join_all;
use tracing::debug;

use crate::clock;
use crate::context::Context;
use crate::soft::copies;

/// A worker that does not answer by then is not a live one.
const STAT_TIMEOUT: Duration = Duration::from_secs(2);
/// Copies before a version may name an artifact, where there are so many workers.
const HOLDERS_MIN: usize = 2;
/// Workers asked at once: known holders are asked first, so that more would hardly find another copy.
const ASKED_MAX: usize = 32;

/// What workers say of an artifact.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) size: u64,
    pub(super) kind: Kind,
}

/// Finds enough holders and begins the artifact's grace anew on each.
///
/// # Errors
/// `artifact-missing` when there are too few, `no-worker` when no worker answers.
pub(super) async fn renew(context: &Context, digest: Digest) -> Result<Stored, Refusal> {
    let state = context.hub.state();
    let seen = context.soft.nodes();
    let copies = copies(&state, &seen, context.policy, clock::now());
    let mut asked: Vec<_> = state
        .nodes()
        .filter(|node| node.is(Role::Worker) && node.state != NodeState::Dead)
        .filter(|node| !node.addresses.data.is_empty())
        .collect();
    asked.sort_by_key(|node| (!copies.holds(&digest, node.id), !copies.live().contains_key(&node.id)));
    asked.truncate(ASKED_MAX);
    let answers = join_all(asked.iter().map(|node| stat(context, node, digest))).await;
    let answered: Vec<_> = answers.into_iter().flatten().collect();
    if answered.is_empty() {
        return Err(Refusal::new(Code::NoWorker, "no worker answers"));
    }
    let holders: Vec<_> = answered.iter().filter(|reply| reply.held).collect();
    let needed = answered.len().min(HOLDERS_MIN);
    match holders.first() {
        Some(first) if holders.len() >= needed => {
            Ok(Stored { size: first.size, kind: Kind::try_from(first.kind())? })
        }
        Some(_) | None => Err(Refusal::new(
            Code::ArtifactMissing,
            format!(
                "{} of {} workers that answer hold {digest}, needed are {needed}: upload it first",
                holders.len(),
                answered.len()
            ),
        )),
    }
}

async fn stat(context: &Context, node: &Node, digest: Digest) -> Option<StatReply> {
    let channel = context.peers.channel(&node.addresses.data).ok()?;
    let request = trace::request(StatRequest { digest: digest.to_wire(), renew: true });
    let mut client = ArtifactsClient::new(channel);
    match tokio::time::timeout(STAT_TIMEOUT, client.stat(request)).await {
        Ok(Ok(reply)) => Some(reply.into_inner()),
        Ok(Err(status)) => {
            debug!(node = %node.id, reason = %status, "a worker did not say what it holds");
            None
        }
        Err(_) => {
            debug!(node = %node.id, "a worker did not say in time what it holds");
            None
        }
    }
}
