//! `coracle route list`.

use clap::Subcommand;
use coracle_proto::pb;

use super::{Read, Session};
use crate::exit::Failure;
use crate::output::view::RouteView;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List all routes, in the order in which they are tried.
    List(Read),
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let Verb::List(read) = &args.verb;
    let request = pb::ListRoutesRequest { stale: read.stale };
    let mut client = session.connect().await?;
    let reply = client.call("route list", async |mut admin| admin.list_routes(request).await).await?;
    session.output.list(&reply.routes.into_iter().map(RouteView::from).collect::<Vec<_>>())
}
