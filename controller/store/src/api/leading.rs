//! What all services of a data group begin with: the replica that leads it, or a refusal that says who does.

use coracle_proto::codec::InField as _;
use coracle_proto::id::{GroupId, RequestId};
use coracle_proto::pb::KvRequest;
use coracle_proto::status::{Code, Refusal};
use coracle_raft::{Role, Stop, View};

use crate::app::Context;
use crate::model::{self, Asked, Op, Outcome};
use crate::propose::{not_leader, refusal, refused};
use crate::replicas::Served;

/// A replica that is asked as the leader of its group.
pub(super) struct Leading {
    pub(super) served: Served,
    pub(super) group: GroupId,
}

impl Leading {
    /// The replica of a group of this cluster.
    pub(super) fn of(context: &Context, cluster: &[u8], group: u32) -> Result<Self, Refusal> {
        context.check_cluster(cluster)?;
        let group = GroupId::new(group);
        Ok(Self { served: context.replicas.served(group)?, group })
    }

    /// A view that has all that was acknowledged before now. The leader's alone: by its clock things expire.
    pub(super) async fn view(&self) -> Result<View, Refusal> {
        let status = self.served.replica.status();
        if status.role != Role::Leader {
            return Err(not_leader(self.group, status.leader.as_ref()));
        }
        self.served.replica.read_barrier().await.map_err(|error| refusal(self.group, error))?;
        Ok(self.served.replica.state())
    }

    /// The time from which a schedule goes on that is changed now: a leader's alone, and by the clocks of all members.
    pub(super) async fn schedules_ms(&self) -> Result<u64, Refusal> {
        let status = self.served.replica.status();
        if status.role != Role::Leader {
            return Err(not_leader(self.group, status.leader.as_ref()));
        }
        self.served.schedules.known_ms().await.ok_or_else(|| not_leader(self.group, None))
    }

    /// Has an operation done; one that is refused is an error.
    pub(super) async fn done(&self, request: Option<KvRequest>, op: Op) -> Result<Outcome, Refusal> {
        let request = request.map(request_of).transpose()?;
        match self.served.proposer.propose(Asked { request, op }).await? {
            Outcome::Refused(why) => Err(refused(&why)),
            outcome => Ok(outcome),
        }
    }

    /// Has it done, or only says whether it could be; a view in which it is done, or is not.
    pub(super) async fn done_or_rehearsed(
        &self,
        request: Option<KvRequest>,
        op: Op,
        dry_run: bool,
    ) -> Result<View, Refusal> {
        if !dry_run {
            self.done(request, op).await?;
            return Ok(self.served.replica.state());
        }
        let view = self.view().await?;
        match model::rehearse(&view, self.now_ms(), op).map_err(|stop| unreadable(&stop))? {
            Outcome::Refused(why) => Err(refused(&why)),
            _ => Ok(view),
        }
    }

    /// What a later request may name as seen.
    pub(super) fn sequence(&self) -> Result<u64, Refusal> {
        sequence(&self.served.replica.state())
    }

    /// The time by which it is said whether somebody else's is right: by the clocks of all members, whom a new leader asks first.
    pub(super) async fn known_ms(&self) -> u64 {
        self.served.clock.stamp_ms(self.served.replica.status().term).await
    }

    /// The time at which something is read: where no entry comes nothing is written, but things expire all the same.
    pub(super) fn now_ms(&self) -> u64 {
        self.served.clock.now_ms()
    }
}

/// The group's sequence: what whoever has seen this view may name as seen.
pub(super) fn sequence(view: &View) -> Result<u64, Refusal> {
    let group = model::group(view).map_err(|stop| unreadable(&stop))?;
    Ok(group.map_or(0, |group| group.sequence))
}

fn request_of(wire: KvRequest) -> Result<model::Request, Refusal> {
    let id = RequestId::try_from(&wire.id[..]).in_field("request.id")?;
    Ok(model::Request { id, since: wire.since })
}

/// What cannot be read off a view.
pub(super) fn unreadable(stop: &Stop) -> Refusal {
    Refusal::new(Code::Internal, stop.to_string())
}
