//! Calls to the workers of other nodes.

mod answer;
mod frames;
mod gate;
mod leave;
mod peer;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use coracle_proto::codec::DecodeError;
use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::pb::{self, answer_frame, worker_client::WorkerClient};
use coracle_proto::record::Node;
use coracle_proto::status::Code;
use coracle_proto::trace;
use http::Response;
use tokio::runtime::Handle;
use tonic::Streaming;

use self::answer::AnswerBody;
use self::frames::CallFrames;
use self::gate::Gate;
use self::leave::Leave;
use self::peer::{Leg, Liveness, Peer};
use super::wire::{FRAME_BYTES_MAX, call_head, error, from_wire, status};
use crate::call::{Answer, Body, Call, CallError, Receipt};
use crate::load::Load;
use crate::stores::effect_from_wire;

/// Nodes that are called at once: a cluster has fewer.
const PEERS_MAX: usize = 10_000;

/// Told of each load that comes with an answer.
pub type LoadSink = Arc<dyn Fn(NodeId, Load) + Send + Sync>;

/// Why a call has no head, and so where it may go next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// The worker refused it: nothing was run.
    Refused(CallError),
    /// The worker was not reached before anything was sent.
    Unreached(CallError),
    /// It was sent, and the worker was lost: it may have run.
    Lost(CallError),
    /// It was sent, the worker fell silent, and the call was let go elsewhere: it may have run.
    Left(CallError),
    /// It ran and failed, or cannot be run anywhere.
    Ended(CallError),
}

impl Failed {
    /// The error.
    #[must_use]
    pub const fn error(&self) -> &CallError {
        match self {
            Self::Refused(error)
            | Self::Unreached(error)
            | Self::Lost(error)
            | Self::Left(error)
            | Self::Ended(error) => error,
        }
    }

    /// The error, for the caller if it goes nowhere else.
    #[must_use]
    pub fn into_error(self) -> CallError {
        match self {
            Self::Refused(error)
            | Self::Unreached(error)
            | Self::Lost(error)
            | Self::Left(error)
            | Self::Ended(error) => error,
        }
    }
}

impl From<CallError> for Failed {
    /// An error of a worker in this process.
    fn from(error: CallError) -> Self {
        if error.not_started() { Self::Refused(error) } else { Self::Ended(error) }
    }
}

/// Calls workers of other nodes. Cheap to clone.
#[derive(Clone)]
pub struct RemoteClient {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: ClusterId,
    told: LoadSink,
    /// Of the threads that hold the connections, and ping: not those of calls, on which guests run.
    threads: Handle,
    peers: Mutex<BTreeMap<NodeId, Arc<Peer>>>,
}

impl fmt::Debug for RemoteClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteClient").field("cluster", &self.inner.cluster).finish_non_exhaustive()
    }
}

impl RemoteClient {
    /// A client without connections. They will be on the threads of the task that calls this.
    #[must_use]
    pub fn new(cluster: ClusterId, told: LoadSink) -> Self {
        let threads = Handle::current();
        Self { inner: Arc::new(Inner { cluster, told, threads, peers: Mutex::default() }) }
    }

    /// Runs a call on another node, up to the response's head. `moves` is asked when the worker falls silent after the
    /// call was sent: whether it goes elsewhere. Where not, it waits until the worker answers again or is given up.
    ///
    /// # Errors
    /// Why there is no head.
    pub async fn call(
        &self,
        node: &Node,
        mut call: Call,
        moves: impl FnOnce() -> bool,
    ) -> Result<Answer, Failed> {
        let open = self.peer(node)?.open(&self.inner.threads);
        if open.liveness() == Liveness::Silent {
            return Err(unreached(node.id, "does not answer"));
        }
        let (gate, receipt) = (Arc::new(Gate::default()), call.receipt.clone());
        let leave = Leave::new(&call, self.inner.cluster, node.id, &gate);
        let head = call_head(&mut call, self.inner.cluster.to_wire(), node.id);
        let frames = CallFrames::new(head, call.request.into_body(), Arc::clone(&gate));
        let mut client = WorkerClient::new(open.channel())
            .max_decoding_message_size(FRAME_BYTES_MAX)
            .max_encoding_message_size(FRAME_BYTES_MAX);
        let answered = async {
            let mut frames = client.call(trace::request(frames)).await?.into_inner();
            let first = frames.message().await?;
            Ok::<_, tonic::Status>((frames, first))
        };
        let result = tokio::select! {
            result = answered => result,
            failed = silent(&open, &gate, moves) => return Err(failed),
        };
        match result {
            Ok((frames, first)) => self.first(open, (leave, receipt), frames, first),
            Err(status) => Err(gone(&gate, node.id, status.message())),
        }
    }

    fn first(
        &self,
        open: Leg,
        (leave, receipt): (Leave, Receipt),
        frames: Streaming<pb::AnswerFrame>,
        first: Option<pb::AnswerFrame>,
    ) -> Result<Answer, Failed> {
        let node = open.node();
        let told = |load: Option<pb::Load>| {
            if let Some(load) = load {
                (self.inner.told)(node, load.into());
            }
        };
        match first.and_then(|frame| frame.kind) {
            Some(answer_frame::Kind::Head(mut head)) => {
                let chunk = std::mem::take(&mut head.first_chunk);
                let (cold, wait) = (head.cold, Duration::from_micros(head.queue_wait_us));
                let mut response = response(&head)
                    .map_err(|why| Failed::Ended(CallError::new(Code::Internal, why.to_string())))?;
                let told = Arc::clone(&self.inner.told);
                let declared = response.headers().get(http::header::CONTENT_LENGTH);
                let declared = declared.and_then(|value| value.to_str().ok()?.parse().ok());
                *response.body_mut() =
                    Body::new(AnswerBody::new((chunk, declared), frames, open, (leave, receipt), told));
                Ok(Answer { response, cold, queue_wait: wait })
            }
            Some(answer_frame::Kind::Refusal(it)) => {
                told(it.load);
                Err(Failed::Refused(error(&it.code, it.message, false, Code::Overloaded)))
            }
            Some(answer_frame::Kind::Failure(it)) => {
                told(it.load);
                // The call failed: what of it cannot be read would not be done anyway.
                let read = it.effects.into_iter().filter_map(|it| effect_from_wire(it).ok()).collect();
                receipt.over_with(it.spent.map(Into::into), read);
                Err(Failed::Ended(error(&it.code, it.message, it.cold, Code::Internal)))
            }
            Some(answer_frame::Kind::Chunk(_) | answer_frame::Kind::Tail(_)) | None => {
                Err(Failed::Lost(lost(node, "ended the answer before its head")))
            }
        }
    }

    /// Forgets the connections to nodes that there are no more, unless calls are open on them.
    pub fn retain(&self, node: impl Fn(NodeId) -> bool) {
        let mut peers = self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|id, peer| peer.busy() || node(*id));
    }

    /// Closes the connections to nodes that were not called for so long: the next call makes new ones.
    pub fn close_idle(&self, idle_max: Duration) {
        let mut peers = self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|_, peer| peer.busy() || peer.idle() < idle_max);
    }

    /// How many nodes it has connections to.
    #[cfg(test)]
    pub(crate) fn peers(&self) -> usize {
        self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many nodes do not answer now.
    #[cfg(test)]
    pub(crate) fn silent(&self) -> usize {
        let peers = self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.values().filter(|peer| peer.is_silent()).count()
    }

    /// The connections to a node: new ones where it moved, or where the old ones were given up.
    fn peer(&self, node: &Node) -> Result<Arc<Peer>, Failed> {
        let mut peers = self.inner.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.get(&node.id)
            && peer.serves(&node.addresses.data)
        {
            return Ok(Arc::clone(peer));
        }
        if peers.len() >= PEERS_MAX {
            peers.retain(|_, peer| peer.busy());
        }
        let _threads = self.inner.threads.enter();
        let peer = Peer::connect(self.inner.cluster, node, Arc::clone(&self.inner.told))
            .map_err(|why| unreached(node.id, &why.to_string()))?;
        peers.insert(node.id, Arc::clone(&peer));
        Ok(peer)
    }
}

fn response(head: &pb::AnswerHead) -> Result<Response<Body>, DecodeError> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status(head.status)?;
    *response.headers_mut() = from_wire(&head.headers)?;
    Ok(response)
}

/// Waits until the worker falls silent, and longer where the call does not move elsewhere.
async fn silent(open: &Leg, gate: &Gate, moves: impl FnOnce() -> bool) -> Failed {
    const WHY: &str = "stopped answering";
    open.silent().await;
    if gate.shut() {
        return unreached(open.node(), WHY);
    }
    if moves() {
        return Failed::Left(lost(open.node(), WHY));
    }
    open.given_up().await;
    Failed::Lost(lost(open.node(), WHY))
}

/// The head of the call is the first thing that is sent: before it nothing can have run.
fn gone(gate: &Gate, node: NodeId, why: &str) -> Failed {
    if gate.shut() { unreached(node, why) } else { Failed::Lost(lost(node, why)) }
}

fn lost(node: NodeId, why: &str) -> CallError {
    CallError::new(Code::NodeLost, format!("node {node}: {why}"))
}

/// Safe to send again, and the caller is told so.
fn unreached(node: NodeId, why: &str) -> Failed {
    Failed::Unreached(CallError::new(Code::NoReplica, format!("node {node} was not reached: {why}")))
}
