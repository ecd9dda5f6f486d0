//! `coracle node list|get|remove`.

use std::time::Duration;

use clap::Subcommand;
use coracle_proto::id::NodeId;
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};

use super::{Read, Session, Shared};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::view::{NodeDetailView, NodeView};

/// Between two looks at whether a node is gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) shared: Shared,
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
            let reply = nodes(&mut session.connect().await?, get.read).await?;
            let found = reply.nodes.into_iter().find(|it| id_of(it) == get.id.get());
            let node = found.ok_or_else(|| {
                Refusal::new(Code::NodeNotFound, format!("there is no node {}: see 'coracle node list'", get.id))
            })?;
            session.output.one(&NodeDetailView::from(node).led_by(reply.leader))
        }
        Verb::Remove(remove) => run_remove(remove, session).await,
    }
}

async fn nodes(client: &mut Client, read: Read) -> Result<pb::ListNodesReply, Failure> {
    let request = pb::ListNodesRequest { stale: read.stale };
    client.call("node list", async |mut admin| admin.list_nodes(request).await).await
}

fn id_of(detail: &pb::NodeDetail) -> u64 {
    detail.node.as_ref().map_or(0, |node| node.id)
}

async fn run_remove(args: &Remove, session: &Session<'_>) -> Result<(), Failure> {
    let id = args.id;
    let question = format!("Remove node {id} for good?");
    session.talk.confirm(&question, session.shared.yes)?;
    let mut client = session.connect().await?;
    let what = format!("node remove {id}");
    let remove = async |mut admin: crate::client::Admin, context| {
        let request = pb::RemoveNodeRequest { context: Some(context), node: id.get(), force: args.force };
        admin.remove_node(request).await
    };
    client.change(&what, remove).await?;
    if session.shared.no_wait {
        session.talk.say(&format!("node {id} is being removed"));
        return Ok(());
    }
    let progress = session.talk.progress(None);
    progress.status(format!("waiting until the replicas of node {id} have moved"));
    while nodes(&mut client, Read::default()).await?.nodes.iter().any(|it| id_of(it) == id.get()) {
        if client.deadline().is_over() {
            let waited = client.deadline().total().as_secs();
            let message = format!("{what}: waited {waited} s until its replicas have moved; it is still leaving");
            return Err(Failure::coded(Exit::TimedOut, Code::TimedOut, message));
        }
        client.deadline().pause(LOOK_INTERVAL).await;
    }
    progress.line(&session.talk.done(&format!("node {id} is removed; its data folder can be deleted")));
    Ok(())
}
