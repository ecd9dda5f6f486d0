//! `coracle status`: answered by any node, also by one that has lost its leader.

use coracle_proto::pb;

use super::{Read, Session};
use crate::exit::Failure;
use crate::output::view::{StatusView, forget_far_pids};

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    read: Read,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let request = pb::StatusRequest { stale: args.read.stale };
    let mut client = session.connect().await?;
    let mut reply = client.call("status", async |mut admin| admin.status(request).await).await?;
    forget_far_pids(&mut reply.nodes, &coracle_node::host_id());
    session.output.one(&StatusView::from(reply))
}
