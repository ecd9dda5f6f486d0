//! The client's side of joining: one join gives one id, however often it is tried.

use std::fs;
use std::path::Path;
use std::time::Duration;

use coracle_proto::codec::node_to_wire;
use coracle_proto::id::{ClusterId, NodeId, RequestId};
use coracle_proto::pb::control_client::ControlClient;
use coracle_proto::pb::{JoinReply, JoinRequest, NodeProcesses};
use coracle_proto::record::Node;
use coracle_proto::status::{Again, Refusal};
use tonic::transport::{Channel, Endpoint};
use tracing::{info, warn};

use super::{Identity, IdentityError, file};

/// Holds the request id of a join that is under way.
const PENDING: &str = "join";
/// With the pause between them about a minute: as long as somebody waits who starts nodes in any order.
const ROUNDS_MAX: u32 = 60;
/// Between two rounds over all seeds.
const PAUSE: Duration = Duration::from_secs(1);
/// A controller that has not answered by then is waiting for a quorum: another one is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Taking what a supervisor tells costs a controller no commit.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the cluster behind `seeds` for an id; an identity that exists stays as it is.
///
/// # Errors
/// When the cluster refuses, nobody answers for about a minute, or the folder cannot be written.
pub async fn join(dir: &Path, seeds: &[String], node: &Node) -> Result<Identity, IdentityError> {
    if let Some(identity) = file::load(dir)? {
        info!(cluster = %identity.cluster, node = %identity.node, "the store is not empty: join is ignored");
        return Ok(identity);
    }
    let request = JoinRequest {
        node: Some(node_to_wire(node)),
        request_id: pending(dir)?.to_wire(),
        known_id: 0,
        cluster_id: bytes::Bytes::new(),
    };
    let reply = ask(seeds, &request).await?;
    let identity = identity(seeds, reply)?;
    file::save(dir, &identity)?;
    // The identity is on disk; a leftover would only be read by a join that never comes.
    let _ = fs::remove_file(dir.join(PENDING));
    info!(cluster = %identity.cluster, node = %identity.node, "joined");
    Ok(identity)
}

/// Tells the cluster this node's present addresses, version and roles. Answers with its controllers.
///
/// # Errors
/// `node-removed` when the cluster no longer knows the node; else as [`join`].
pub async fn announce(identity: &Identity, node: &Node) -> Result<Vec<String>, IdentityError> {
    let request = JoinRequest {
        node: Some(node_to_wire(node)),
        request_id: RequestId::new(rand::random()).to_wire(),
        known_id: identity.node.get(),
        cluster_id: identity.cluster.to_wire(),
    };
    Ok(ask(&identity.controllers, &request).await?.controllers)
}

/// Tells one controller, the first that takes it, of this node's processes. Answers with the cluster's controllers.
///
/// # Errors
/// The last one's words, when none of them took it: none is reached, or the node is not registered yet.
pub async fn tell(identity: &Identity, processes: &NodeProcesses) -> Result<Vec<String>, IdentityError> {
    let mut last = "no address was given".to_owned();
    for seed in &identity.controllers {
        let told = async {
            let channel = connect(seed, TELL_TIMEOUT).await?;
            let reply = ControlClient::new(channel).tell(processes.clone()).await;
            reply.map_err(|status| Some(Refusal::from_status(&status)))
        };
        match told.await {
            Ok(reply) if reply.get_ref().known => return Ok(reply.into_inner().controllers),
            Ok(_) => last = format!("{seed}: does not know the node yet"),
            Err(refusal) => last = complaint(seed, refusal.as_ref()),
        }
    }
    Err(IdentityError::NoAnswer { seeds: identity.controllers.clone(), last })
}

fn identity(seeds: &[String], reply: JoinReply) -> Result<Identity, IdentityError> {
    let cluster = ClusterId::try_from(&reply.cluster_id[..])
        .map_err(|error| IdentityError::NoAnswer { seeds: seeds.to_vec(), last: error.to_string() })?;
    let controllers = if reply.controllers.is_empty() { seeds.to_vec() } else { reply.controllers };
    let node = NodeId::new(reply.node_id);
    Ok(Identity { cluster, cluster_name: reply.cluster_name, node, founder: false, controllers })
}

/// The request id of this folder's join, made once and kept until it is answered.
fn pending(dir: &Path) -> Result<RequestId, IdentityError> {
    let kept = fs::read_to_string(dir.join(PENDING)).ok().and_then(|text| text.trim().parse().ok());
    if let Some(request) = kept {
        return Ok(request);
    }
    let request = RequestId::new(rand::random());
    file::write_durably(dir, PENDING, format!("{request}\n").as_bytes())?;
    Ok(request)
}

async fn ask(seeds: &[String], request: &JoinRequest) -> Result<JoinReply, IdentityError> {
    let mut last = "no address was given".to_owned();
    for round in 0..ROUNDS_MAX {
        for seed in seeds {
            match ask_one(seed, request).await {
                Ok(reply) => return Ok(reply),
                Err(Some(refusal)) if refusal.code.retry() == Again::Never => {
                    return Err(IdentityError::Refused { refusal });
                }
                Err(refusal) => last = complaint(seed, refusal.as_ref()),
            }
        }
        if seeds.is_empty() {
            break;
        }
        warn!(round, reason = %last, "no controller could answer yet");
        tokio::time::sleep(PAUSE).await;
    }
    Err(IdentityError::NoAnswer { seeds: seeds.to_vec(), last })
}

/// `Err(None)`: it cannot be reached.
async fn ask_one(seed: &str, request: &JoinRequest) -> Result<JoinReply, Option<Refusal>> {
    let reply = ControlClient::new(connect(seed, ANSWER_TIMEOUT).await?).join(request.clone()).await;
    reply.map(tonic::Response::into_inner).map_err(|status| Some(Refusal::from_status(&status)))
}

async fn connect(seed: &str, answers_within: Duration) -> Result<Channel, Option<Refusal>> {
    let endpoint = Endpoint::from_shared(format!("http://{seed}")).map_err(|_| None)?;
    endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(answers_within).connect().await.map_err(|_| None)
}

fn complaint(seed: &str, refusal: Option<&Refusal>) -> String {
    refusal.map_or_else(|| format!("{seed}: cannot connect"), |refusal| format!("{seed}: {refusal}"))
}
