//! The supervisor as a client of its cluster: it asks to be let in, tells where the node is, and how its processes are. One
//! join gives one id, however often it is tried.

use std::fs;
use std::path::Path;
use std::time::Duration;

use coracle_controller::identity::{self, Identity, IdentityError};
use coracle_proto::codec::node_to_wire;
use coracle_proto::id::{ClusterId, NodeId, RequestId, Revision};
use coracle_proto::pb::admin_client::AdminClient;
use coracle_proto::pb::control_client::ControlClient;
use coracle_proto::pb::{InfoRequest, JoinReply, JoinRequest, NodeProcesses};
use coracle_proto::record::Node;
use coracle_proto::status::{Again, Code, Refusal};
use coracle_transport::{Dialer, Purpose};
use thiserror::Error;
use tonic::transport::Channel;
use tonic::{Response, Status};
use tracing::{info, warn};

use crate::os;

/// Holds the request id of a join that is under way, and the revision of the cluster before its first try.
const PENDING: &str = "join";
/// With the pause between them a minute where nobody listens, and longer by the answers that are waited for: as long
/// as somebody waits who starts nodes in any order.
const ROUNDS_MAX: u32 = 60;
/// Between two rounds over all seeds.
const PAUSE: Duration = Duration::from_secs(1);
/// A controller that has not answered by then is waiting for a quorum: another one is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Taking what a supervisor tells costs a controller no commit.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the cluster was not asked to an end.
#[derive(Debug, Error)]
pub(crate) enum JoinError {
    /// What the folder holds of this node cannot be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The cluster said no.
    #[error("{refusal}")]
    Refused {
        /// Code and sentence.
        refusal: Refusal,
    },
    /// No controller answered.
    #[error("no controller answered at {}: {last}", seeds.join(", "))]
    NoAnswer {
        /// Who was asked.
        seeds: Vec<String>,
        /// What the last one said.
        last: String,
    },
}

/// Asks the cluster behind `seeds` for an id; an identity that exists stays as it is.
///
/// # Errors
/// When the cluster refuses, nobody answers in a minute or more, or the folder cannot be written.
pub(crate) async fn join(dir: &Path, seeds: &[String], node: &Node) -> Result<Identity, JoinError> {
    if let Some(identity) = identity::load(dir)? {
        info!(cluster = %identity.cluster, node = %identity.node, "the store is not empty: join is ignored");
        return Ok(identity);
    }
    let mut reply = ask_for_id(dir, seeds, node).await?;
    if reply.forgotten {
        warn!("this join was begun too long ago for the cluster to know whether it was done: it begins anew");
        forget(dir)?;
        reply = ask_for_id(dir, seeds, node).await?;
    }
    let identity = joined(seeds, reply)?;
    identity::save(dir, &identity)?;
    // The identity is on disk; a leftover would only be read by a join that never comes.
    let _ = forget(dir);
    info!(cluster = %identity.cluster, node = %identity.node, "joined");
    Ok(identity)
}

/// Asks as this folder asked before, if it did.
async fn ask_for_id(dir: &Path, seeds: &[String], node: &Node) -> Result<JoinReply, JoinError> {
    let (request, since) = pending(dir, seeds).await?;
    let request = JoinRequest {
        node: Some(node_to_wire(node)),
        request_id: request.to_wire(),
        known_id: 0,
        cluster_id: bytes::Bytes::new(),
        since: since.get(),
    };
    ask_to_join(seeds, request).await
}

/// A node has told where it is reached.
#[derive(Debug)]
pub(crate) struct Announced {
    /// The cluster's controllers.
    pub(crate) controllers: Vec<String>,
    /// Not all that it told is recorded yet: tell it again.
    pub(crate) later: bool,
}

/// Tells the cluster this node's present addresses, version and roles. Answers with its controllers.
///
/// # Errors
/// `node-removed` when the cluster no longer knows the node; else as [`join`].
pub(crate) async fn announce(identity: &Identity, node: &Node) -> Result<Announced, JoinError> {
    let request = JoinRequest {
        node: Some(node_to_wire(node)),
        request_id: RequestId::new(rand::random()).to_wire(),
        known_id: identity.node.get(),
        cluster_id: identity.cluster.to_wire(),
        since: 0,
    };
    let JoinReply { controllers, later, format, .. } = ask_to_join(&identity.controllers, request).await?;
    // Whoever does not tell the format has dropped what it does not know.
    let later = later || (node.keeps() && format == 0);
    Ok(Announced { controllers, later })
}

/// Tells one controller, the first that takes it, of this node's processes. Answers with the cluster's controllers.
///
/// # Errors
/// `node-removed` when the cluster no longer knows the node; else the last one's words, when none of them took it: none
/// is reached, or the node is not registered yet.
pub(crate) async fn tell(identity: &Identity, processes: &NodeProcesses) -> Result<Vec<String>, JoinError> {
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
            Err(Some(refusal)) if refusal.code == Code::NodeRemoved => {
                return Err(JoinError::Refused { refusal });
            }
            Err(refusal) => last = complaint(seed, refusal.as_ref()),
        }
    }
    Err(JoinError::NoAnswer { seeds: identity.controllers.clone(), last })
}

fn joined(seeds: &[String], reply: JoinReply) -> Result<Identity, JoinError> {
    if reply.forgotten || reply.node_id == 0 {
        let last = "answered without an id".to_owned();
        return Err(JoinError::NoAnswer { seeds: seeds.to_vec(), last });
    }
    let cluster = ClusterId::try_from(&reply.cluster_id[..])
        .map_err(|error| JoinError::NoAnswer { seeds: seeds.to_vec(), last: error.to_string() })?;
    let controllers = if reply.controllers.is_empty() { seeds.to_vec() } else { reply.controllers };
    let node = NodeId::new(reply.node_id);
    Ok(Identity { cluster, cluster_name: reply.cluster_name, node, founder: false, controllers })
}

/// This folder's join: its request id and the revision of the cluster before the first try, fixed once and kept
/// until it is answered. A cluster that has forgotten what was asked since then says so; only then a second id may be
/// given, and the first one, if there was one, is of a node that never came: `coracle node remove` ends it.
async fn pending(dir: &Path, seeds: &[String]) -> Result<(RequestId, Revision), JoinError> {
    let kept = fs::read_to_string(dir.join(PENDING)).ok().and_then(|text| read(&text));
    if let Some(kept) = kept {
        return Ok(kept);
    }
    let info = |channel: Channel| async move {
        let reply = AdminClient::new(channel).info(InfoRequest {}).await?;
        // A controller that the log has not reached: a join that counts from nothing is protected from nothing.
        if reply.get_ref().revision == 0 { Err(Status::unavailable("knows nothing yet")) } else { Ok(reply) }
    };
    let since = Revision::new(ask(seeds, info).await?.revision);
    let request = RequestId::new(rand::random());
    let path = dir.join(PENDING);
    let text = format!("{request} {since}\n");
    os::replace_file(&path, text.as_bytes()).map_err(|source| io(&path, source))?;
    Ok((request, since))
}

fn forget(dir: &Path) -> Result<(), JoinError> {
    let path = dir.join(PENDING);
    fs::remove_file(&path).map_err(|source| io(&path, source))
}

fn io(path: &Path, source: std::io::Error) -> JoinError {
    IdentityError::Io { path: path.display().to_string(), source }.into()
}

fn read(pending: &str) -> Option<(RequestId, Revision)> {
    let (request, since) = pending.trim().split_once(' ')?;
    Some((request.parse().ok()?, Revision::new(since.parse().ok()?)))
}

async fn ask_to_join(seeds: &[String], request: JoinRequest) -> Result<JoinReply, JoinError> {
    let join = |channel: Channel| {
        let request = request.clone();
        async move { ControlClient::new(channel).join(request).await }
    };
    ask(seeds, join).await
}

/// Asks one seed after the other, round after round.
async fn ask<T, F>(seeds: &[String], what: impl Fn(Channel) -> F) -> Result<T, JoinError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut last = "no address was given".to_owned();
    for round in 0..ROUNDS_MAX {
        for seed in seeds {
            match ask_one(seed, &what).await {
                Ok(reply) => return Ok(reply),
                Err(Some(refusal)) if refusal.code.retry() == Again::Never => {
                    return Err(JoinError::Refused { refusal });
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
    Err(JoinError::NoAnswer { seeds: seeds.to_vec(), last })
}

/// `Err(None)`: it cannot be reached.
async fn ask_one<T, F>(seed: &str, what: impl Fn(Channel) -> F) -> Result<T, Option<Refusal>>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let reply = what(connect(seed, ANSWER_TIMEOUT).await?).await;
    reply.map(Response::into_inner).map_err(|status| Some(Refusal::from_status(&status)))
}

async fn connect(seed: &str, answers_within: Duration) -> Result<Channel, Option<Refusal>> {
    Dialer::new(Purpose::Question(answers_within)).connect(seed).await.map_err(|_| None)
}

fn complaint(seed: &str, refusal: Option<&Refusal>) -> String {
    refusal.map_or_else(|| format!("{seed}: cannot connect"), |refusal| format!("{seed}: {refusal}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use coracle_proto::id::StoreId;
    use coracle_proto::pb::control_server::{Control, ControlServer};
    use coracle_proto::pb::{
        ExchangeReply, ForwardAnswers, ForwardBatch, NodeStatus, Orders, ProposeReply, ProposeRequest,
        SoftBatch, TellReply, WatchFrame, WatchRequest,
    };
    use coracle_proto::record::{Addresses, NodeState, Role};
    use tokio::net::TcpListener;
    use tokio_stream::Empty;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Request, Streaming};

    use super::*;
    use crate::client::fake::{Fake, Script};

    type Answer<T> = Result<Response<T>, Status>;

    fn no_use<T>() -> Answer<T> {
        Err(Status::unavailable("not asked for here"))
    }

    /// A controller that has forgotten what the first to ask asked for, and gives an id to whoever asks then.
    #[derive(Debug, Default, Clone)]
    struct Forgetful(Arc<Mutex<Vec<JoinRequest>>>);

    impl Forgetful {
        async fn start(&self) -> String {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let service = ControlServer::new(self.clone());
            let server = tonic::transport::Server::builder().add_service(service);
            tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
            address
        }
    }

    #[tonic::async_trait]
    impl Control for Forgetful {
        async fn join(&self, request: Request<JoinRequest>) -> Answer<JoinReply> {
            let mut asked = self.0.lock().unwrap();
            asked.push(request.into_inner());
            if asked.len() == 1 {
                return Ok(Response::new(JoinReply { forgotten: true, ..JoinReply::default() }));
            }
            let cluster_id = ClusterId::new(7).to_wire();
            Ok(Response::new(JoinReply { node_id: 2, cluster_id, ..JoinReply::default() }))
        }

        type WatchStream = Empty<Result<WatchFrame, Status>>;
        async fn watch(&self, _: Request<WatchRequest>) -> Answer<Self::WatchStream> {
            no_use()
        }

        type ReportStream = Empty<Result<Orders, Status>>;
        async fn report(&self, _: Request<Streaming<NodeStatus>>) -> Answer<Self::ReportStream> {
            no_use()
        }

        async fn exchange(&self, _: Request<SoftBatch>) -> Answer<ExchangeReply> {
            no_use()
        }

        async fn tell(&self, _: Request<NodeProcesses>) -> Answer<TellReply> {
            no_use()
        }

        async fn propose(&self, _: Request<ProposeRequest>) -> Answer<ProposeReply> {
            no_use()
        }

        type ForwardStream = Empty<Result<ForwardAnswers, Status>>;
        async fn forward(&self, _: Request<Streaming<ForwardBatch>>) -> Answer<Self::ForwardStream> {
            no_use()
        }
    }

    fn late() -> Node {
        Node {
            id: NodeId::new(0),
            name: "late".to_owned(),
            roles: Role::DEFAULT.into(),
            zone: String::new(),
            version: "0.0.0".to_owned(),
            addresses: Addresses::default(),
            state: NodeState::Alive,
            registered: Revision::ZERO,
            slots: 2,
            memory_bytes: 1 << 30,
            store: StoreId::UNKNOWN,
        }
    }

    #[test]
    fn a_join_that_was_begun_is_read_back() {
        let begun = (RequestId::new(7), Revision::new(42));
        assert_eq!(read(&format!("{} {}\n", begun.0, begun.1)), Some(begun));
        assert_eq!(read(&format!("{}\n", begun.0)), None);
    }

    #[tokio::test]
    async fn a_join_that_is_forgotten_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let forgetful = Forgetful::default();
        // The first one says nothing of its revision: the other one is asked.
        let seeds = [forgetful.start().await, Fake::start(Script::default()).await.address.to_string()];
        let begun = RequestId::new(7);
        let pending = folder.path().join(PENDING);
        fs::write(&pending, format!("{begun} 1\n")).unwrap();
        let identity = join(folder.path(), &seeds, &late()).await.unwrap();
        assert_eq!((identity.node.get(), identity.controllers), (2, seeds.to_vec()));
        assert!(!pending.exists(), "it is answered");
        let asked = forgetful.0.lock().unwrap().clone();
        let [first, again] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((&first.request_id, first.since), (&begun.to_wire(), 1));
        assert_ne!(again.request_id, first.request_id);
        assert_eq!(again.since, 41, "what came since the cluster was asked is remembered");
        let at_once = join(folder.path(), &[], &late()).await.unwrap();
        assert_eq!(at_once.node.get(), 2, "one join gives one id");
    }
}
