//! `coracle cluster groups`.

use clap::Subcommand;
use coracle_proto::pb;

use super::Session;
use crate::exit::Failure;
use crate::output::view::replicas;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the data groups, which keep what functions keep, with their replicas.
    Groups,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match args.verb {
        Verb::Groups => groups(session).await,
    }
}

async fn groups(session: &Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect().await?;
    let reply = client
        .call("cluster groups", async |mut admin| admin.list_groups(pb::ListGroupsRequest {}).await)
        .await?;
    let rows = replicas(reply);
    if rows.is_empty() {
        session.talk.say(
            "there is no data group: give some nodes the role store (those that are told no '--role' have it)",
        );
    }
    session.output.list(&rows)
}
