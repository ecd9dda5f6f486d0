//! `coracle node list|get|remove`.

use std::time::Duration;

use clap::Subcommand;
use coracle_proto::id::NodeId;
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::{Read, Session};
use crate::client::{Admin, Client};
use crate::exit::Failure;
use crate::output::view::{Changed, NodeDetailView, NodeView, forget_far_pids};

/// With `--no-wait`: marking a node takes one commit.
const MARK_WAIT: Duration = Duration::from_secs(2);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List all nodes.
    List(Read),
    /// Show all that is known of a node.
    Get(Get),
    /// Remove a node: its replicas move first. It can only come back as a new one.
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
struct Get {
    /// The node's id.
    #[arg(value_name = "ID")]
    id: NodeId,
    #[command(flatten)]
    read: Read,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// The node's id.
    #[arg(value_name = "ID")]
    id: NodeId,
    /// Also one that does not answer or that the cluster would miss.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::List(read) => {
            let reply = nodes(&mut session.connect().await?, *read).await?;
            let view = |node| NodeView::from(node).led_by(reply.leader);
            session.output.list(&reply.nodes.into_iter().map(view).collect::<Vec<_>>())
        }
        Verb::Get(get) => {
            let (node, leader) = find(&mut session.connect().await?, get.id, get.read).await?;
            session.output.one(&NodeDetailView::from(node).led_by(leader))
        }
        Verb::Remove(remove) => run_remove(remove, session).await,
    }
}

async fn nodes(client: &mut Client, read: Read) -> Result<pb::ListNodesReply, Failure> {
    let request = pb::ListNodesRequest { stale: read.stale };
    let mut reply = client.call("node list", async |mut admin| admin.list_nodes(request).await).await?;
    forget_far_pids(&mut reply.nodes, &coracle_node::host_id());
    Ok(reply)
}

/// The node, and who leads.
async fn find(client: &mut Client, id: NodeId, read: Read) -> Result<(pb::NodeDetail, u64), Failure> {
    let reply = nodes(client, read).await?;
    let is_it = |detail: &pb::NodeDetail| detail.node.as_ref().is_some_and(|node| node.id == id.get());
    let node = reply.nodes.into_iter().find(is_it).ok_or_else(|| {
        Refusal::new(Code::NodeNotFound, format!("there is no node {id}; 'coracle node list' shows them"))
    })?;
    Ok((node, reply.leader))
}

async fn run_remove(args: &Remove, session: &Session<'_>) -> Result<(), Failure> {
    let id = args.id;
    session.talk.confirm(&format!("Remove node {id} for good?"), session.shared.yes)?;
    let mut client = session.connect().await?;
    find(&mut client, id, Read::default()).await?;
    let progress = session.talk.progress(None);
    progress.status(format!("waiting until the replicas of node {id} have moved"));
    let limit = if session.shared.no_wait { MARK_WAIT } else { Duration::MAX };
    let what = format!("node remove {id}");
    // The node answers when it is done, so one attempt may last; asked again, it goes on where it was.
    let remove = async |mut admin: Admin, context| {
        let mut request =
            Request::new(pb::RemoveNodeRequest { context: Some(context), node: id.get(), force: args.force });
        if session.shared.no_wait {
            request.set_timeout(limit);
        }
        match admin.remove_node(request).await {
            // Whoever was asked before has done it: it was there a moment ago.
            Err(status) if status.code() == tonic::Code::NotFound => {
                Ok(Response::new(pb::ChangeReply::default()))
            }
            // Marked, which is all that is wanted.
            Err(status) if session.shared.no_wait && is_late(&status) => {
                Ok(Response::new(pb::ChangeReply::default()))
            }
            answered => answered,
        }
    };
    client.change_slow(&what, Duration::MAX, remove).await?;
    if session.shared.no_wait {
        session.talk.say(&format!("node {id} is being removed; 'coracle node list' shows when it is gone"));
        return session.output.one(&Changed::new(id, "leaving"));
    }
    progress.line(session.talk.done(&format!("node {id} is removed; its data folder can be deleted")));
    session.output.one(&Changed::new(id, "removed"))
}

fn is_late(status: &Status) -> bool {
    matches!(status.code(), tonic::Code::DeadlineExceeded | tonic::Code::Cancelled)
}
