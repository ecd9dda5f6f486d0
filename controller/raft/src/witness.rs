//! A killed leader is replaced at once, not after its lease.
//!
//! Each member holds one stream open to the leader. When it ends and the leader's port refuses, a voter asks
//! the others; when a majority of all voters, itself counted, sees the same, it campaigns with the vote that
//! voters grant despite the lease. Nothing of this can harm: an election is safe at any moment, and a leader
//! that a majority still reaches is left alone. A leader that is only silent (stopped, cut off) accepts or
//! swallows connections and does not refuse; it is replaced when its lease has ended.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::NodeId;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tonic::Code;

use crate::member::Member;
use crate::network::Testimony;
use crate::state_machine::State;
use crate::types::Vote;

/// Between two attempts to attend a leader, and between two times that others are asked whether they see it.
const RETRY: Duration = Duration::from_millis(100);

/// A process that is killed closes its port and its connections in any order: this many looks, this far apart.
const LOOKS: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A port on a living machine accepts or refuses within this.
const CONNECT_MAX: Duration = Duration::from_millis(200);

/// How long the other voters may take to answer, their own notice included.
const ASK_MAX: Duration = Duration::from_millis(300);

/// Voters that notice together campaign apart.
const SPREAD_MAX_MS: u64 = 50;

/// A voter whose log is behind another's lets that one go first: it could not win against it.
const BEHIND: Duration = Duration::from_millis(150);

/// The leader that a member attends.
struct Attended {
    vote: Vote,
    leader: NodeId,
    /// Whether this member may campaign: a learner only learns that the leader is gone.
    votes: bool,
    voters: BTreeSet<NodeId>,
}

/// How the attendance of a leader ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was there, and is no more.
    Lost,
    /// It says that it does not lead: it was started again, or has stepped down, and leads by this vote no more.
    Denied,
    /// It was not reached.
    Unreached,
}

/// What the other voters said.
struct Verdict {
    majority: bool,
    /// Somebody's log is longer than ours.
    behind: bool,
}

/// Watches the leader for as long as the member lives.
pub(crate) async fn run<S: State>(member: Arc<Member<S>>) {
    let mut metrics = member.raft.server_metrics();
    let mut acted_on: Option<Vote> = None;
    // The leader that was attended until it was lost: its Raft may end a while before its port closes.
    let mut lost: Option<Vote> = None;
    let mut told: Option<(Vote, bool)> = None;
    loop {
        let attended = attended(&member);
        let end = tokio::select! {
            changed = metrics.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            end = attend(&member, attended.as_ref()) => end,
        };
        let Some(leader) = attended else { continue };
        if end == End::Lost {
            lost = Some(leader.vote);
        }
        if end != End::Denied && !refused(&member.lines.channels.address(leader.leader)).await {
            sleep(RETRY).await;
            continue;
        }
        member.gone.send_replace(Some(leader.vote));
        // One that was never reached may have been replaced long ago: that is for elections to find out. One that
        // denies has a port still, or one again.
        let was_attended = end != End::Denied && lost == Some(leader.vote);
        if !was_attended || !leader.votes || acted_on == Some(leader.vote) {
            sleep(RETRY).await;
            continue;
        }
        let verdict = ask(&member, &leader).await;
        // Once: it is asked for as long as nobody else was elected, which without a majority is as long as that lasts.
        let news = Some((leader.vote, verdict.majority));
        if std::mem::replace(&mut told, news) != news {
            tracing::info!(leader = %leader.leader, majority = verdict.majority, "the leader's process is gone");
        }
        if verdict.majority {
            acted_on = Some(leader.vote);
            campaign(&member, &leader, verdict.behind).await;
        } else {
            sleep(RETRY).await;
        }
    }
}

/// The leader that this member follows. Notes every member's address by the way.
fn attended<S: State>(member: &Member<S>) -> Option<Attended> {
    let metrics = member.raft.server_metrics().borrow_watched().clone();
    let (vote, own) = (metrics.vote, member.identity.node);
    let leader = NodeId::new(vote.leader_id.voted_for);
    let membership = metrics.membership_config.membership();
    member.lines.channels.record_all(membership);
    let voters: BTreeSet<_> = membership.voter_ids().map(NodeId::new).collect();
    let votes = voters.contains(&own);
    let follows = vote.committed && leader != own && membership.get_node(&own.get()).is_some();
    follows.then_some(Attended { vote, leader, votes, voters })
}

/// Holds a stream open to the leader until it ends. Without a leader, for ever.
async fn attend<S: State>(member: &Member<S>, leader: Option<&Attended>) -> End {
    let Some(leader) = leader else { return std::future::pending().await };
    match timeout(ASK_MAX, member.lines.attend(leader.leader)).await {
        Ok(Ok(attendance)) => {
            // It came back before anybody else was elected.
            member.gone.send_replace(None);
            if attendance.ended().await { End::Lost } else { End::Unreached }
        }
        Ok(Err(status)) if status.code() == Code::FailedPrecondition => End::Denied,
        Ok(Err(_)) | Err(_) => End::Unreached,
    }
}

/// Whether nobody listens at this address, on a machine that answers.
async fn refused(address: &str) -> bool {
    for _ in 0..LOOKS {
        match timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return true,
            // The connection ended in the middle of the other end's death.
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return false,
        }
        sleep(LOOK_EVERY).await;
    }
    false
}

/// Asks every other voter; the leader counts as a voter that does not see it.
async fn ask<S: State>(member: &Member<S>, leader: &Attended) -> Verdict {
    let own = member.identity.node;
    let last = member.last_log_id();
    let others = leader.voters.iter().filter(|node| **node != own && **node != leader.leader);
    let mut answers: FuturesUnordered<_> =
        others.map(|node| member.lines.gone(*node, &leader.vote, last, ASK_MAX)).collect();
    let (mut seen, mut behind) = (1, false);
    while let Some(answer) = answers.next().await {
        let Ok(Testimony { gone, last_log_id }) = answer else { continue };
        seen += usize::from(gone);
        behind |= last_log_id > last;
    }
    Verdict { majority: seen > leader.voters.len() / 2, behind }
}

/// Campaigns as if the leader had handed over, unless somebody else did meanwhile.
async fn campaign<S: State>(member: &Member<S>, leader: &Attended, behind: bool) {
    let spread = Duration::from_millis(rand::random_range(0..SPREAD_MAX_MS));
    sleep(spread + if behind { BEHIND } else { Duration::ZERO }).await;
    if attended(member).is_none_or(|now| now.vote != leader.vote) {
        return;
    }
    let request = TransferLeaderRequest::new(leader.vote, member.identity.node.get(), member.last_log_id());
    match member.raft.handle_transfer_leader(request).await {
        Ok(Ok(())) => tracing::info!(leader = %leader.leader, "campaigning for a leader that is gone"),
        Ok(Err(error)) => tracing::info!(%error, "left to the next election"),
        // Raft has stopped: the loop ends with its metrics.
        Err(_) => {}
    }
}
