//! What this process measures, as OpenMetrics text: its own counters, and numbers of the moment that Raft, the state and soft
//! state have.

use std::fmt;

use coracle_proto::id::VersionId;
use coracle_raft::{Position, SYNC_BUCKETS_US, SyncHistogram};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::context::Context;
use crate::soft::ready_replicas;

/// Every family of this project begins with it.
const PREFIX: &str = "coracle";

/// The text without its last line, `# EOF`: the supervisor joins it with the data plane's.
///
/// # Errors
/// When formatting fails.
pub(super) fn exposition(context: &Context) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    context.metrics.register(&mut registry);
    register(&mut registry, context);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text.strip_suffix("# EOF\n").map(str::to_owned).unwrap_or(text))
}

/// Reads every number once.
fn register(registry: &mut Registry, context: &Context) {
    let raft = context.raft.status();
    let state = context.hub.state();
    let seen = context.soft.nodes();
    let leads = context.leads();
    let index = |at: Option<Position>| at.map_or(0, |at| at.index);
    let versions = state.functions().filter_map(|function| {
        state.version(&VersionId { function: function.id.clone(), number: function.main_version() })
    });
    let wanted = versions.map(|version| u64::from(version.spec.replicas())).sum();
    let storage = context.raft.store_status();
    let gauges: [(&'static str, &'static str, u64); 14] = [
        ("raft_term", "Term of Raft's group meta", raft.term),
        ("raft_leader", "1 on the node that leads", u64::from(leads)),
        ("raft_commit_index", "Index of the last committed entry", index(raft.committed)),
        ("raft_applied_index", "Index of the last applied entry", index(raft.applied)),
        ("raft_voters", "Voters of the group", size(raft.voters.len())),
        (
            "raft_log_entries",
            "Entries of the log on disk",
            index(raft.applied).max(raft.last_log_index.unwrap_or(0)).saturating_sub(index(raft.purged)),
        ),
        ("raft_store_bytes", "Size of the store on disk", storage.bytes),
        ("state_revision", "Revision of the state on this node", state.revision().get()),
        ("nodes", "Nodes of the cluster", size(state.nodes().count())),
        ("functions", "Functions of the cluster", size(state.functions().count())),
        ("replicas_wanted", "Replicas that functions ask for", wanted),
        ("replicas_assigned", "Replicas that are assigned", size(state.replicas().count())),
        ("replicas_ready", "Replicas whose nodes say that they are ready", ready_replicas(&state, &seen)),
        ("soft_nodes", "Nodes with a status that has not expired", size(seen.len())),
    ];
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
    }
    let help = "Time of a flush with fdatasync of the log";
    registry.register_with_unit("raft_fsync", help, Unit::Seconds, Syncs(storage.syncs));
}

fn size(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Raft's own histogram as this format wants it.
#[derive(Debug)]
struct Syncs(SyncHistogram);

impl EncodeMetric for Syncs {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = SYNC_BUCKETS_US.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.0.buckets).collect();
        encoder.encode_histogram::<NoLabelSet>(seconds(self.0.sum_us), self.0.count(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn seconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1e6
}
