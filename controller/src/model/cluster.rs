//! Commands about the cluster itself.

use coracle_proto::id::{ClusterId, NodeId, Revision};
use coracle_proto::record::{Cluster, Node, Outcome, Role};
use coracle_proto::status::{Code, Refusal};

use super::edit::Edit;
use super::node;

/// The format of commands that this build writes and understands.
pub const COMMAND_FORMAT: u32 = 1;
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
        version: COMMAND_FORMAT,
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

fn check_voters(voters: u32) -> Result<(), Refusal> {
    if (1..=VOTERS_WANTED_MAX).contains(&voters) {
        return Ok(());
    }
    let sentence = format!("{voters} voters: between 1 and {VOTERS_WANTED_MAX} are possible");
    Err(Refusal::new(Code::InvalidArgument, sentence))
}
