//! The service between nodes: joining, watching, soft state, the way to the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::codec::node_from_wire;
use coracle_proto::id::{NodeId, RequestId, Revision};
use coracle_proto::pb::control_server::Control;
use coracle_proto::pb::{
    ExchangeReply, ForwardAnswers, ForwardBatch, JoinReply, JoinRequest, NodeOrders, NodeProcesses,
    NodeStatus, Orders, ProposeReply, ProposeRequest, SoftBatch, TellReply, WatchFrame, WatchRequest,
};
use coracle_proto::record::{Node, NodeState, Outcome, Role};
use coracle_proto::status::{Code, Refusal};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, debug_span, info};

use super::deadline::deadline;
use super::span::{self, joined};
use super::{Answers, STREAM_QUEUE, answers};
use crate::clock;
use crate::context::Context;
use crate::exchange::report;
use crate::model::{ClusterState, Command, at_format};
use crate::propose::{Ask, LEADER_WAIT, barrier, committed, propose, propose_forwarded, serve};
use crate::soft::{Accepted, Via};
use crate::watch::{Confirmed, Follower, Scope, follow};

/// The longest name of a node, a zone or an address: they stand in every controller's memory.
const TEXT_MAX: usize = 255;
/// Orders in one answer to another controller: with one node's more it is still below gRPC's 4 MiB.
const ORDERS_BYTES_MAX: usize = 2 << 20;
/// A node has three children.
const CHILDREN_MAX: usize = 4;
/// The longest last message of a child that is taken: supervisors cut them at a quarter of it.
const MESSAGE_MAX: usize = 4096;

/// Before a leader is asked again: where the log has ended the answer comes at once.
const CONFIRM_PAUSE: Duration = Duration::from_millis(500);

/// Serves other nodes.
#[derive(Debug)]
pub(crate) struct ControlService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Control for ControlService {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let deadline = deadline(request.metadata());
        let context = &self.context;
        let asked = request.into_inner();
        context.check_cluster(&asked.cluster_id)?;
        let (node, later) = known_to_all(context, joining_node(&asked)?)?;
        let id = match asked.known_id {
            0 => register(context, &asked, node, deadline).await,
            known => update(context, Node { id: NodeId::new(known), ..node }, deadline).await,
        };
        let id = unless_forgotten(id, asked.since, remembered_from(&context.hub.state()))?;
        barrier(context, deadline).await?;
        let state = context.hub.state();
        Ok(Response::new(JoinReply {
            cluster_id: context.cluster.to_wire(),
            cluster_name: state.cluster().map(|cluster| cluster.name.clone()).unwrap_or_default(),
            node_id: id.map_or(0, NodeId::get),
            controllers: controllers(&state),
            forgotten: id.is_none(),
            later,
            format: state.cluster().map_or(0, |cluster| cluster.version),
        }))
    }

    type WatchStream = Answers<WatchFrame>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let asked = request.into_inner();
        self.context.check_cluster(&asked.cluster_id)?;
        self.context.check_follows().await?;
        let scope = Scope::from_wire(asked.scope)
            .ok_or_else(|| Refusal::new(Code::InvalidArgument, "field 'scope': missing"))?;
        let (out, frames) = mpsc::channel(STREAM_QUEUE);
        let follower = Follower { scope, seen: Revision::new(asked.revision), out };
        let context = Arc::clone(&self.context);
        let task = async move {
            let _counted = context.metrics.follower();
            let (confirmed, confirming) = mpsc::channel(1);
            let following = follow(Arc::clone(&context.hub), Arc::clone(&context.soft), follower, confirming);
            // On the heap: a proposal's way is long, and a watch is one of thousands. Gateways alone ask how new it is.
            let confirming = Box::pin(async {
                if scope.has_soft() {
                    confirm(&context, confirmed).await;
                }
                std::future::pending().await
            });
            let both = async {
                tokio::select! { () = following => {}, () = confirming => {} }
            };
            context.closing.run_until_cancelled(both).await;
        };
        tokio::spawn(task.instrument(debug_span!("watch", ?scope)));
        Ok(answers(frames))
    }

    type ReportStream = Answers<Orders>;

    async fn report(
        &self,
        request: Request<Streaming<NodeStatus>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        self.context.check_follows().await?;
        let (out, orders) = mpsc::channel(STREAM_QUEUE);
        let context = Arc::clone(&self.context);
        let statuses = request.into_inner();
        let task = async move {
            let closing = context.closing.clone();
            closing.run_until_cancelled(report(context, statuses, out)).await;
        };
        tokio::spawn(task.instrument(debug_span!("report")));
        Ok(answers(orders))
    }

    async fn exchange(&self, request: Request<SoftBatch>) -> Result<Response<ExchangeReply>, Status> {
        let context = &self.context;
        let batch = request.into_inner();
        context.check_cluster(&batch.cluster_id)?;
        let from = NodeId::new(batch.from);
        context.check_not_removed(from)?;
        let (now, state, leader) = (clock::now(), context.hub.state(), context.leader());
        let leads = leader == Some(context.node);
        let mut told = OrdersOf { context, now, leads, orders: BTreeMap::new(), bytes: 0 };
        let mut whole = BTreeSet::new();
        for status in batch.nodes {
            let node = NodeId::new(status.node);
            if state.node(node).is_some() {
                let accepted = context.soft.accept(status, Via::Exchange(from), now);
                if accepted == Accepted::Gap {
                    whole.insert(node.get());
                }
                told.add(node);
            }
        }
        for processes in batch.processes {
            if state.node(NodeId::new(processes.node)).is_some() {
                context.soft.accept_processes(processes, Via::Exchange(from), now);
            }
        }
        if state.node(from).is_some() {
            context.soft.relayed_by(from, batch.format.max(1), now);
        }
        if leader == Some(from) && !leads && !batch.continued {
            context.soft.set_alarms("leader", batch.alarms);
        }
        Ok(Response::new(ExchangeReply {
            cluster_id: context.cluster.to_wire(),
            leader: leads,
            orders: told.orders.into_values().collect(),
            whole: whole.into_iter().collect(),
            node: context.node.get(),
            store: context.own.store.get(),
        }))
    }

    async fn tell(&self, request: Request<NodeProcesses>) -> Result<Response<TellReply>, Status> {
        let context = &self.context;
        let told = request.into_inner();
        context.check_cluster(&told.cluster_id)?;
        let texts =
            told.children.iter().flat_map(|child| [&child.name, &child.message]).chain([&told.host_id]);
        if told.children.len() > CHILDREN_MAX || texts.map(String::len).any(|length| length > MESSAGE_MAX) {
            let sentence = format!("at most {CHILDREN_MAX} children, and {MESSAGE_MAX} bytes of text each");
            return Err(Refusal::new(Code::InvalidArgument, sentence).into());
        }
        context.check_not_removed(NodeId::new(told.node))?;
        let state = context.hub.state();
        let known = state.node(NodeId::new(told.node)).is_some();
        if known {
            context.soft.accept_processes(told, Via::Report, clock::now());
        }
        Ok(Response::new(TellReply { known, controllers: controllers(&state) }))
    }

    async fn propose(&self, request: Request<ProposeRequest>) -> Result<Response<ProposeReply>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let proposing = propose_forwarded(&self.context, asked.envelope, deadline(&metadata));
        Ok(Response::new(joined(span::proposal(), &metadata, proposing).await?))
    }

    type ForwardStream = Answers<ForwardAnswers>;

    async fn forward(
        &self,
        request: Request<Streaming<ForwardBatch>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        let (out, answered) = mpsc::channel(STREAM_QUEUE);
        let serving = serve(Arc::clone(&self.context), request.into_inner(), out, span::proposal);
        tokio::spawn(serving.instrument(debug_span!("forward")));
        Ok(answers(answered))
    }
}

/// The leader's orders for the nodes of one batch, each once, as many as one answer holds: the next brings more.
struct OrdersOf<'a> {
    context: &'a Context,
    now: Instant,
    leads: bool,
    orders: BTreeMap<NodeId, NodeOrders>,
    bytes: usize,
}

impl OrdersOf<'_> {
    fn add(&mut self, node: NodeId) {
        if !self.leads || self.bytes >= ORDERS_BYTES_MAX || self.orders.contains_key(&node) {
            return;
        }
        let orders = NodeOrders { node: node.get(), orders: Some(self.context.orders.of(node, self.now)) };
        self.bytes += orders.encoded_len();
        self.orders.insert(node, orders);
    }
}

/// Asks a leader what was committed when a watch began, until one answers. Whom nobody answers is alone, whatever it knows
/// of a leader: one whose machine is gone, or that is cut off, refuses nothing and is remembered for ever.
async fn confirm(context: &Context, confirmed: mpsc::Sender<Confirmed>) {
    loop {
        let now = match committed(context, LEADER_WAIT).await {
            // A node that is behind its leader has not yet what it should have: it waits as long as that takes.
            Ok(committed) => match committed.reached(context).await {
                Ok(revision) => Confirmed::Current(revision),
                Err(_) => return,
            },
            Err(_) => Confirmed::Alone,
        };
        if confirmed.send(now).await.is_err() || now != Confirmed::Alone {
            return;
        }
        tokio::time::sleep(CONFIRM_PAUSE).await;
    }
}

fn controllers(state: &ClusterState) -> Vec<String> {
    let controllers = state.nodes().filter(|node| node.is(Role::Controller));
    controllers.map(|node| node.addresses.grpc.clone()).collect()
}

fn joining_node(asked: &JoinRequest) -> Result<Node, Refusal> {
    let missing = || Refusal::new(Code::InvalidArgument, "field 'node': missing");
    let node = node_from_wire(asked.node.clone().ok_or_else(missing)?)?;
    let at = &node.addresses;
    for text in [&node.name, &node.zone, &node.version, &at.grpc, &at.admin, &at.data, &at.http, &at.store] {
        if text.len() > TEXT_MAX {
            let sentence = format!("field 'node': a text of {} bytes, at most {TEXT_MAX}", text.len());
            return Err(Refusal::new(Code::InvalidArgument, sentence));
        }
    }
    Ok(Node { state: NodeState::Alive, ..node })
}

/// The node without what not every controller knows of, and whether that is less than it told.
fn known_to_all(context: &Context, node: Node) -> Result<(Node, bool), Refusal> {
    let format = context.hub.state().cluster().map_or(0, |cluster| cluster.version);
    let (known, roles) = (at_format(node.clone(), format), node.roles.len());
    if known.roles.is_empty() && roles > 0 {
        let sentence = "a node that only keeps what functions keep: upgrade all controllers first";
        return Err(Refusal::new(Code::UpgradeRequired, sentence));
    }
    let later = known != node;
    Ok((known, later))
}

/// A new id, or the one that an earlier try of the same join was given.
async fn register(
    context: &Context,
    asked: &JoinRequest,
    node: Node,
    deadline: std::time::Instant,
) -> Result<NodeId, Refusal> {
    let request = RequestId::try_from(&asked.request_id[..])
        .map_err(|error| Refusal::new(Code::InvalidArgument, format!("request_id: {error}")))?;
    let name = node.name.clone();
    let own = Ask::own(context, Command::RegisterNode { node });
    let since = if asked.since == 0 { own.since } else { Revision::new(asked.since) };
    let ask = Ask { request, since, ..own };
    match propose(context, ask, deadline).await?.outcome {
        Outcome::NodeRegistered(id) => {
            info!(node = %id, name, "a node joined");
            Ok(id)
        }
        other => Err(Refusal::new(Code::Internal, format!("a join was answered with {other:?}"))),
    }
}

/// The id of a join; none when it was begun, at revision `since`, so long ago that the cluster cannot tell any more
/// whether it gave one. Where the log refused it for that, it never will: from now on it remembers that refusal. Where
/// the outcome is unknown for another reason, an id may be given yet. One that was not heard is a node that never came.
fn unless_forgotten(
    id: Result<NodeId, Refusal>,
    since: u64,
    remembered_from: Revision,
) -> Result<Option<NodeId>, Refusal> {
    let forgotten = since != 0 && Revision::new(since) < remembered_from;
    match id {
        Ok(id) => Ok(Some(id)),
        Err(refusal) if refusal.code == Code::OutcomeUnknown && forgotten => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn remembered_from(state: &ClusterState) -> Revision {
    state.cluster().map_or(Revision::ZERO, |cluster| cluster.remembered_from)
}

async fn update(context: &Context, node: Node, deadline: std::time::Instant) -> Result<NodeId, Refusal> {
    let id = node.id;
    propose(context, Ask::own(context, Command::UpdateNode { node }), deadline).await?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_older_than_what_is_remembered_is_forgotten() {
        let answered = |code, since| {
            let refused = Err(Refusal::new(code, ""));
            unless_forgotten(refused, since, Revision::new(7)).map_err(|refusal| refusal.code)
        };
        assert_eq!(answered(Code::OutcomeUnknown, 6), Ok(None));
        for since in [7, 0] {
            let may_come = answered(Code::OutcomeUnknown, since);
            assert_eq!(may_come, Err(Code::OutcomeUnknown), "the answer may still come");
        }
        assert_eq!(answered(Code::NoQuorum, 6), Err(Code::NoQuorum));
        let given = unless_forgotten(Ok(NodeId::new(3)), 6, Revision::new(7));
        assert!(given.is_ok_and(|id| id == Some(NodeId::new(3))), "an id is an id, however old the join");
    }
}
