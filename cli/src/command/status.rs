//! `coracle status`.

use std::time::Duration;

use coracle_proto::pb;

use super::{Session, Shared};
use crate::client::{Client, Deadline, says_no_quorum};
use crate::exit::{Exit, Failure};
use crate::output::view::StatusView;

/// How long the leader's word is waited for before a node's own view is shown: longer than an election.
const LEADER_WAIT: Duration = Duration::from_secs(3);

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) shared: Shared,
    #[command(flatten)]
    read: super::Read,
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let total = Deadline::after(session.wait(super::WAIT));
    let reply = if args.read.stale {
        ask(session, total, true).await?
    } else {
        match ask(session, total.sooner(LEADER_WAIT), false).await {
            Err(failure) if says_no_quorum(&failure) || failure.exit == Exit::TimedOut => {
                session.talk.warn("no leader with a majority answers; this is what one node last saw");
                ask(session, total, true).await?
            }
            answered => answered?,
        }
    };
    session.output.one(&StatusView::from(reply))
}

async fn ask(session: &Session<'_>, deadline: Deadline, stale: bool) -> Result<pb::StatusReply, Failure> {
    // The sentences of the first, short try would only confuse.
    let talk = if stale { session.talk } else { session.talk.silent() };
    let mut client = Client::connect(session.targets()?, deadline, talk).await?;
    client.call("status", async |mut admin| admin.status(pb::StatusRequest { stale }).await).await
}
