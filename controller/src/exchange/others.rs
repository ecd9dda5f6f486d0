//! Tells every other controller what was reported here: at once when others decide by it, else once an interval.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{NodeId, StoreId};
use coracle_proto::pb::{self, control_client::ControlClient};
use coracle_proto::record::Role;
use coracle_proto::status::{Code, Refusal};
use prost::Message as _;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{Instrument as _, debug, debug_span};

use crate::clock;
use crate::context::Context;
use crate::model::COMMAND_FORMAT;
use crate::soft::INTERVAL;
use crate::watch::FRAME_BYTES_MAX;

/// What a kibibyte takes on the slowest of networks, about 1 Mbit/s: one that never arrived in time would be sent for ever.
const SLOWEST: Duration = Duration::from_millis(8);

/// Runs until it is dropped: one task for each other controller, so that a slow one delays nobody.
pub(crate) async fn exchange(context: Arc<Context>) {
    let mut nodes = context.hub.subscribe_nodes();
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<NodeId, (String, AbortHandle)> = BTreeMap::new();
    loop {
        nodes.mark_unchanged();
        let wanted = others(&context);
        running.retain(|node, (address, task)| {
            let keep = wanted.get(node) == Some(address) && !task.is_finished();
            if !keep {
                task.abort();
            }
            keep
        });
        for (node, address) in wanted {
            running.entry(node).or_insert_with(|| {
                let span = debug_span!("exchange", peer = %node);
                let task = exchange_with(Arc::clone(&context), address.clone()).instrument(span);
                (address, tasks.spawn(task))
            });
        }
        tokio::select! {
            changed = nodes.changed() => if changed.is_err() { return },
            // One that failed is begun anew.
            Some(_) = tasks.join_next() => {}
        }
    }
}

fn others(context: &Context) -> BTreeMap<NodeId, String> {
    let state = context.hub.state();
    let controllers = state.nodes().filter(|node| node.is(Role::Controller) && node.id != context.node);
    controllers.map(|node| (node.id, node.addresses.grpc.clone())).collect()
}

/// What one controller knows.
#[derive(Debug, Default)]
struct Informed {
    /// The place in the sequence up to which it was told.
    sequence: u64,
    /// Nodes of which it missed something.
    whole: BTreeSet<NodeId>,
}

/// Tells one controller, again and again. What it missed while it was away, it asks for with the next batch.
async fn exchange_with(context: Arc<Context>, address: String) {
    let mut urgent = context.soft.subscribe_urgent();
    let mut told = Informed::default();
    loop {
        urgent.mark_unchanged();
        let asked_before = !told.whole.is_empty();
        if let Err(refusal) = send(&context, &address, &mut told).await {
            debug!(address, reason = %refusal, "a controller was not told");
        }
        if told.whole.is_empty() || asked_before {
            // Whether it was the interval or a change that ended the wait makes no difference.
            let _ = tokio::time::timeout(INTERVAL, urgent.changed()).await;
        }
    }
}

async fn send(context: &Context, address: &str, told: &mut Informed) -> Result<(), Refusal> {
    let mut client = ControlClient::new(context.peers.channel(address)?);
    let news = context.soft.direct_since(told.sequence, &told.whole);
    let (leading, sequence) = (context.leads(), news.sequence);
    let mut missed = BTreeSet::new();
    for mut batch in news.batches(FRAME_BYTES_MAX, clock::now()) {
        if leading && !batch.continued {
            batch.alarms = context.soft.alarms();
        }
        batch.from = context.node.get();
        batch.format = COMMAND_FORMAT;
        batch.cluster_id = context.cluster.to_wire();
        let within =
            INTERVAL + SLOWEST.saturating_mul(u32::try_from(batch.encoded_len() >> 10).unwrap_or(u32::MAX));
        let mut request = tonic::Request::new(batch);
        request.set_timeout(within);
        let reply = client.exchange(request).await.map_err(|status| Refusal::from_status(&status));
        if reply.as_ref().is_err_and(|refusal| refusal.code == Code::NodeRemoved) {
            // The log does not say so here: it ends for a node before its record does.
            context.removed.cancel();
        }
        let reply = reply?.into_inner();
        missed.extend(reply.whole.iter().copied().map(NodeId::new));
        context.soft.answered_with(NodeId::new(reply.node), StoreId::new(reply.store));
        take_orders(context, reply);
    }
    *told = Informed { sequence, whole: missed };
    Ok(())
}

fn take_orders(context: &Context, reply: pb::ExchangeReply) {
    if reply.leader {
        let orders = reply.orders.into_iter();
        let named = orders.filter_map(|named| Some((NodeId::new(named.node), named.orders?)));
        context.orders.put(named, clock::now());
    }
}
