//! Commands about the cluster itself.

use coracle_proto::id::{ClusterId, NodeId, Revision};
use coracle_proto::record::{Cluster, Node, Outcome, Role};
use coracle_proto::status::{Code, Refusal};

use super::edit::Edit;
use super::node;

/// The highest format of commands that this build reads. What `apply` makes of a command, its bounds too, belongs to
/// the format: whoever changes it raises this, and does it the new way only where [`Cluster::version`] says so, for
/// two voters that apply one command differently have two states.
pub const COMMAND_FORMAT: u32 = 7;
/// Every cluster begins with it, whatever the program that makes it: its log may be read by another one.
pub const FORMAT_FIRST: u32 = 1;
/// The first format in which a leader's decisions carry their term, and time goes on by bounded steps.
pub const FORMAT_DECISIONS: u32 = 2;
/// The first format in which functions grant routes: a voter of a lower one would drop the grants, and have another state.
pub const FORMAT_GRANTS: u32 = 3;
/// The first format in which a function says that its instances are used again: a voter of a lower one would drop that.
pub(super) const FORMAT_REUSE: u32 = 4;
/// The first format with data groups: a voter of a lower one knows neither the role nor the records.
pub const FORMAT_GROUPS: u32 = 5;
/// The first format in which functions are granted buckets, queues and topics: a voter of a lower one would drop these grants.
pub(super) const FORMAT_STATE: u32 = 6;
/// The first format in which functions are granted buckets of blobs, and in which a program may be one that events alone call: a
/// voter of a lower one would drop the grants, and does not know the kind.
pub(super) const FORMAT_BLOBS: u32 = 7;
/// By so much a command moves the cluster's time on at most: what one wrong clock can do. The leader keeps the time
/// ([`Command::KeepTime`](super::Command::KeepTime)) of a cluster in which nothing is asked for.
pub const TIME_STEP_MAX_MS: u64 = 60 * 60 * 1000;
/// Three voters survive the loss of any one.
pub const VOTERS_WANTED_DEFAULT: u32 = 3;
/// Each write waits for a majority: more voters make writes slower, not safer.
pub const VOTERS_WANTED_MAX: u32 = 7;

/// Makes the cluster with its first node.
pub(super) fn create(
    edit: &mut Edit<'_>,
    id: ClusterId,
    name: String,
    first: Node,
    voters_wanted: u32,
) -> Result<Outcome, Refusal> {
    check_voters(voters_wanted)?;
    if !first.is(Role::Controller) {
        return Err(Refusal::new(Code::InvalidArgument, "the first node of a cluster is a controller"));
    }
    edit.create_cluster(Cluster {
        id,
        name,
        next_node: NodeId::new(1),
        time_ms: edit.time_ms,
        version: FORMAT_FIRST,
        voters_wanted,
        remembered_from: Revision::ZERO,
        revision: edit.revision,
    });
    node::register(edit, first)
}

/// Changes how many voters there should be; the membership driver follows.
pub(super) fn set_voters_wanted(edit: &mut Edit<'_>, voters: u32) -> Result<Outcome, Refusal> {
    check_voters(voters)?;
    edit.update_cluster(|cluster| cluster.voters_wanted = voters);
    Ok(Outcome::Done)
}

/// Lets commands of a higher format in. That every controller reads them is the proposer's to know.
pub(super) fn raise_format(edit: &mut Edit<'_>, format: u32) -> Outcome {
    edit.update_cluster(|cluster| cluster.version = cluster.version.max(format));
    Outcome::Done
}

/// The time of a command: never before that of an earlier one.
pub(super) fn time_of(cluster: Option<&Cluster>, stamp_ms: u64) -> u64 {
    match cluster {
        None => stamp_ms,
        Some(cluster) if cluster.version < FORMAT_DECISIONS => stamp_ms.max(cluster.time_ms),
        Some(cluster) => {
            let latest = cluster.time_ms.saturating_add(TIME_STEP_MAX_MS);
            stamp_ms.clamp(cluster.time_ms, latest)
        }
    }
}

fn check_voters(voters: u32) -> Result<(), Refusal> {
    if (1..=VOTERS_WANTED_MAX).contains(&voters) {
        return Ok(());
    }
    let sentence = format!("{voters} voters: between 1 and {VOTERS_WANTED_MAX} are possible");
    Err(Refusal::new(Code::InvalidArgument, sentence))
}
