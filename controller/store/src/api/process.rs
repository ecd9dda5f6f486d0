//! What the supervisor asks of its child.

mod chunks;
mod queues;
mod schedules;
mod webhooks;

pub(super) use queues::became;

use std::fmt;
use std::sync::Arc;

use coracle_proto::id::GroupId;
use coracle_proto::pb::process_server::Process;
use coracle_proto::pb::{InspectReply, InspectRequest};
use coracle_raft::{Position, Role};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tonic::{Request, Response, Status};

use crate::app::Context;
use crate::replicas::{Replica, Replicas};

/// Every family of this process begins with it.
const PREFIX: &str = "coracle_store";

/// Answers for this process at 7401, through the supervisor.
pub(crate) struct ProcessService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Process for ProcessService {
    async fn inspect(&self, request: Request<InspectRequest>) -> Result<Response<InspectReply>, Status> {
        let ends = self.context.closing.is_cancelled().then(|| "the store ends".to_owned());
        let stopped = self.context.replicas.all().into_iter().filter_map(|(group, replica)| {
            Some(format!("group {group} has stopped: {}", replica.status().stopped?))
        });
        let missing = self.context.replicas.missing();
        let missing = missing
            .iter()
            .map(|group| format!("the replica of data group {group} does not begin: see the log"));
        let reasons: Vec<_> = ends.into_iter().chain(stopped).chain(missing).collect();
        let metrics = match request.into_inner().metrics {
            true => {
                exposition(&self.context.replicas).map_err(|error| Status::internal(error.to_string()))?
            }
            false => String::new(),
        };
        Ok(Response::new(InspectReply { metrics, ready: reasons.is_empty(), reasons }))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    group: u32,
}

type Gauges = Family<Of, Gauge>;
/// What a gauge shows of a replica.
type Read = fn(&Replica) -> u64;

/// The text without its last line, `# EOF`: the supervisor joins it with that of others.
fn exposition(replicas: &Replicas) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    let index = |at: Option<Position>| at.map_or(0, |at| at.index);
    let families: [(&str, &str, Read); 4] = [
        ("raft_term", "Term of the group", |it| it.status().term),
        ("raft_leader", "1 where this replica leads", |it| u64::from(it.status().role == Role::Leader)),
        ("raft_voters", "Voters of the group", |it| it.status().voters.len() as u64),
        ("bytes", "Size of the replica on the disk", |it| it.store_status().bytes),
    ];
    let all = replicas.all();
    for (name, help, of) in families {
        register(&mut registry, (name, help), &all, of);
    }
    register(&mut registry, ("raft_applied_index", "Index of the last applied entry"), &all, |it| {
        index(it.status().applied)
    });
    schedules::register(&mut registry, replicas);
    chunks::register(&mut registry, replicas);
    queues::register(&mut registry, &all);
    webhooks::register(&mut registry, replicas);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text.strip_suffix("# EOF\n").map(str::to_owned).unwrap_or(text))
}

fn register(
    registry: &mut Registry,
    (name, help): (&str, &str),
    all: &[(GroupId, Replica)],
    of: impl Fn(&Replica) -> u64,
) {
    let family = Gauges::default();
    for (group, replica) in all {
        let value = i64::try_from(of(replica)).unwrap_or(i64::MAX);
        family.get_or_create(&Of { group: group.get() }).set(value);
    }
    registry.register(name, help, family);
}
