//! Asks workers whether they hold an artifact, and renews its grace there.

use std::time::Duration;

use coracle_proto::id::Digest;
use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_proto::pb::{StatReply, StatRequest};
use coracle_proto::record::{Kind, Node, NodeState, Role};
use coracle_proto::status::{Code, Refusal};
use coracle_proto::trace;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tracing::debug;

use crate::clock;
use crate::context::Context;
use crate::soft::copies;

/// A worker that does not answer by then is not a live one.
const STAT_TIMEOUT: Duration = Duration::from_secs(2);
/// A worker that died a moment ago counts as live until its reports are missed, and cannot answer: it is waited for.
const SILENT_WAIT: Duration = Duration::from_secs(3);
const SILENT_PAUSE: Duration = Duration::from_millis(250);
/// Others on the same network answer within milliseconds of those that were enough.
const OTHERS_WAIT: Duration = Duration::from_millis(50);
/// Copies before a version may name an artifact, where there are so many workers.
const HOLDERS_MIN: usize = 2;
/// Workers asked at once: known holders are asked first, so that more would hardly find another copy.
const ASKED_MAX: usize = 32;

/// What workers say of an artifact.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) size: u64,
    pub(super) kind: Kind,
    /// Bytes of memory that an instance has from its start.
    pub(super) memory_min: u64,
    /// By what it would wait for connections, empty where it would not.
    pub(super) listens: String,
    /// What it has use for: a bucket of values, one of blobs.
    pub(super) wants: (bool, bool),
}

/// Finds enough holders and begins the artifact's grace anew on each.
///
/// # Errors
/// `artifact-missing` when there are too few, `no-worker` when no worker answers.
pub(super) async fn renew(context: &Context, digest: Digest) -> Result<Stored, Refusal> {
    let end = clock::now() + SILENT_WAIT;
    loop {
        let (found, silent) = ask(context, digest).await;
        if found.is_ok() || !silent || clock::now() >= end {
            return found;
        }
        tokio::time::sleep(SILENT_PAUSE).await;
    }
}

/// What the workers say now, and whether one that counts as live did not answer.
async fn ask(context: &Context, digest: Digest) -> (Result<Stored, Refusal>, bool) {
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
    let live = copies.live().len();
    let answers = asked.iter().map(|node| stat(context, node, digest)).collect();
    let answered = enough(answers, |answered| stored(digest, answered, live).is_ok()).await;
    (stored(digest, &answered, live), answered.len() < live)
}

/// What comes until it is enough, and a moment longer, for each that holds the artifact renews its grace. One that is silent
/// costs nothing where the others suffice.
async fn enough<T>(
    mut answers: FuturesUnordered<impl Future<Output = Option<T>>>,
    suffices: impl Fn(&[T]) -> bool,
) -> Vec<T> {
    let mut answered = Vec::new();
    while let Some(answer) = answers.next().await {
        answered.extend(answer);
        if suffices(&answered) {
            let others = async {
                while let Some(answer) = answers.next().await {
                    answered.extend(answer);
                }
            };
            // Who is later than that is not waited for.
            let _ = tokio::time::timeout(OTHERS_WAIT, others).await;
            break;
        }
    }
    answered
}

/// What the answers come to where so many workers are `live`: one that is slow to answer is needed all the same. A worker
/// that only got a copy does not know the kind: the one that checked it does.
fn stored(digest: Digest, answered: &[StatReply], live: usize) -> Result<Stored, Refusal> {
    if answered.is_empty() {
        return Err(Refusal::new(Code::NoWorker, "no worker answers"));
    }
    let holders: Vec<_> = answered.iter().filter(|reply| reply.held).collect();
    let needed = live.max(answered.len()).min(HOLDERS_MIN);
    if holders.len() < needed {
        let (holding, all) = (holders.len(), answered.len());
        let sentence = format!(
            "{holding} of {all} workers that answer hold {digest}, needed are {needed}: upload it first"
        );
        return Err(Refusal::new(Code::ArtifactMissing, sentence));
    }
    let known = |reply: &&StatReply| {
        let (size, memory_min, listens) = (reply.size, reply.memory_min, reply.listens.clone());
        let (kind, wants) = (Kind::try_from(reply.kind()).ok()?, (reply.wants_keyvalue, reply.wants_blobs));
        Some(Stored { size, kind, memory_min, listens, wants })
    };
    holders.iter().find_map(known).ok_or_else(|| {
        let sentence = format!("no worker has checked {digest} since it was started: upload it again");
        Refusal::new(Code::ArtifactMissing, sentence)
    })
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

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use coracle_proto::pb;

    #[tokio::test]
    async fn a_silent_worker_is_not_waited_for_where_the_others_suffice() {
        let silent = || std::future::pending().boxed();
        let says = |answer: Option<u32>| std::future::ready(answer).boxed();
        let two = |so_far: &[u32]| so_far.len() == 2;
        let answers = [silent(), says(Some(1)), says(None), says(Some(2)), says(Some(3))];
        let answered = tokio::time::timeout(STAT_TIMEOUT, enough(answers.into_iter().collect(), two));
        assert_eq!(answered.await.unwrap().len(), 3, "the third one is renewed too");
        let answers = [silent(), says(Some(1))];
        let answered = tokio::time::timeout(OTHERS_WAIT, enough(answers.into_iter().collect(), two));
        assert!(answered.await.is_err(), "it may be needed");
    }

    fn reply(held: bool, kind: pb::Kind) -> StatReply {
        StatReply { held, size: 7, kind: kind.into(), ..StatReply::default() }
    }

    #[test]
    fn the_kind_is_what_the_one_that_checked_it_says() {
        let digest = Digest::new([7; 32]);
        let (copy, other) = (|| reply(true, pb::Kind::Unspecified), || reply(false, pb::Kind::Unspecified));
        let checked = || reply(true, Kind::HttpComponent.into());
        let found = stored(digest, &[copy(), other(), checked()], 3).unwrap();
        assert_eq!((found.size, found.kind), (7, Kind::HttpComponent));
        let code = |answered: &[StatReply]| stored(digest, answered, 1).unwrap_err().code;
        assert_eq!(code(&[copy(), copy(), other()]), Code::ArtifactMissing);
        assert_eq!(code(&[checked(), other()]), Code::ArtifactMissing);
        assert_eq!(code(&[]), Code::NoWorker);
        assert!(stored(digest, &[checked()], 1).is_ok(), "a lone worker is enough where there is no other");
        let lone = stored(digest, &[checked()], 2).unwrap_err();
        assert_eq!(lone.code, Code::ArtifactMissing, "the other one lives and did not answer in time");
    }
}
