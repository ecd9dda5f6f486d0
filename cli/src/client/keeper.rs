//! Whoever leads the data group of a namespace: it is looked for through the cluster's controllers, and asked itself.

use std::time::Duration;

use coracle_proto::id::Namespace;
use coracle_proto::pb;
use coracle_proto::pb::blobs_client::BlobsClient;
use coracle_proto::pb::invocations_client::InvocationsClient;
use coracle_proto::pb::key_value_client::KeyValueClient;
use coracle_proto::pb::queues_client::QueuesClient;
use coracle_proto::pb::schedules_client::SchedulesClient;
use coracle_proto::pb::secrets_client::SecretsClient;
use coracle_proto::pb::topics_client::TopicsClient;
use coracle_proto::pb::webhooks_client::WebhooksClient;
use coracle_proto::record::slot_of;
use coracle_proto::status::{Code, Refusal};
use coracle_transport::{Dialer, Purpose};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::trouble::{Trouble, Verdict};
use super::{ATTEMPT_MAX, Admin, Client, Trace};
use crate::exit::Failure;

/// A value and its key, with what a page of a list has: as the store sends them.
const ANSWER_MAX: usize = 64 << 20;
/// Before it is looked again who leads: an election takes longer. Where no more is left what was said last is the answer.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a store may be asked to wait before it answers.
pub(crate) const STORE_WAIT_MAX: Duration = Duration::from_secs(5);
// What is longer would count as no answer.
const _: () = assert!(STORE_WAIT_MAX.as_millis() < ATTEMPT_MAX.as_millis());

/// A connection to a store; each request carries the command's trace.
pub(crate) type Wire = InterceptedService<Channel, Trace>;
/// Blobs, and uploads of them.
pub(crate) type Blobs = BlobsClient<Wire>;
/// Values.
pub(crate) type Keeper = KeyValueClient<Wire>;
/// Records of invocations.
pub(crate) type Invocations = InvocationsClient<Wire>;
/// Queues and their dead letters.
pub(crate) type Queues = QueuesClient<Wire>;
/// Schedules.
pub(crate) type Schedules = SchedulesClient<Wire>;
/// Secrets.
pub(crate) type Secrets = SecretsClient<Wire>;
/// Topics.
pub(crate) type Topics = TopicsClient<Wire>;
/// Webhooks.
pub(crate) type Webhooks = WebhooksClient<Wire>;

/// The generated client of one of the store's services.
pub(crate) trait Service {
    fn over(wire: Wire) -> Self;
}

macro_rules! service {
    ($($client:ident),+) => {
        $(
            impl Service for $client {
                fn over(wire: Wire) -> Self {
                    Self::new(wire).max_decoding_message_size(ANSWER_MAX)
                }
            }
        )+
    };
}

service!(Blobs, Invocations, Keeper, Queues, Schedules, Secrets, Topics, Webhooks);

/// Which data group is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose<'a> {
    /// That of a namespace.
    Namespace(&'a Namespace),
    /// This one.
    Group(u32),
}

/// Who leads a group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leads {
    address: String,
    seen: Seen,
}

/// A data group, and how far it was before anything was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) group: u32,
    /// What makes a request that comes again known: a group remembers those since then, or says that it does not.
    pub(crate) sequence: u64,
}

impl Client {
    /// Asks the leader of a data group, until one answers. `what` names the request in errors; a request that changes
    /// something must have an id.
    pub(crate) async fn keep<C: Service, T>(
        &mut self,
        what: &str,
        whose: Whose<'_>,
        attempt: impl AsyncFn(C, Seen) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Failure> {
        let (mut told, mut first, mut lost) = (false, None, false);
        loop {
            let groups = self.list_groups().await?;
            let trouble = match leads(&groups, whose) {
                None => Trouble::from(tonic::Status::from(nobody())),
                Some(Leads { address, seen }) => {
                    let seen = Seen { sequence: *first.get_or_insert(seen.sequence), ..seen };
                    match self.attempt(&address, seen, &attempt).await {
                        Ok(answer) => return Ok(answer),
                        Err(trouble) => trouble,
                    }
                }
            };
            // An answer that was lost may have been that it is done: what is refused after that says nothing of it.
            lost |= trouble.may_be_done();
            if trouble.verdict() == Verdict::Final || self.deadline.left() <= PAUSE {
                return Err(match lost && !trouble.may_be_done() && trouble.verdict() != Verdict::Final {
                    true => Refusal::new(Code::OutcomeUnknown, trouble.to_string()).into(),
                    false => trouble.into_failure(),
                }
                .during(what));
            }
            if !std::mem::replace(&mut told, true) {
                let left = self.deadline.left().as_secs();
                self.talk.say(&format!("{what}: {trouble}; trying again for up to {left} s"));
            }
            self.deadline.pause(PAUSE).await;
        }
    }

    /// All data groups that there are; one at least.
    pub(crate) async fn groups(&mut self) -> Result<Vec<u32>, Failure> {
        loop {
            let reply = self.list_groups().await?;
            let groups = reply.groups.iter().filter_map(|detail| detail.group.as_ref());
            let ids: Vec<_> = groups.map(|group| group.id).collect();
            if !ids.is_empty() {
                return Ok(ids);
            }
            if self.deadline.left() <= PAUSE {
                return Err(nobody().into());
            }
            self.deadline.pause(PAUSE).await;
        }
    }

    /// Whether anybody keeps anything: a cluster need not have stores.
    pub(crate) async fn keeps_anything(&mut self) -> Result<bool, Failure> {
        let list = async |mut admin: Admin| admin.list_groups(pb::ListGroupsRequest {}).await;
        let groups = self.call("looking for the data group", list).await?;
        Ok(!groups.slots.is_empty() || self.has_store().await?)
    }

    /// None of them where the first one is not made yet: refused where no node could have it.
    async fn list_groups(&mut self) -> Result<pb::ListGroupsReply, Failure> {
        let list = async |mut admin: Admin| admin.list_groups(pb::ListGroupsRequest {}).await;
        let reply = self.call("looking for the data group", list).await?;
        if reply.slots.is_empty() && !self.has_store().await? {
            let sentence =
                "no node keeps anything: give some the role store (those that are told no '--role' have it)";
            return Err(Refusal::new(Code::NoStore, sentence).into());
        }
        Ok(reply)
    }

    /// By a node's role, or by its processes: in the first seconds of a cluster records have no such role.
    async fn has_store(&mut self) -> Result<bool, Failure> {
        let list = async |mut admin: Admin| admin.list_nodes(pb::ListNodesRequest { stale: true }).await;
        let reply = self.call("looking for a store", list).await?;
        Ok(reply.nodes.iter().any(keeps))
    }

    async fn attempt<C: Service, T>(
        &self,
        address: &str,
        seen: Seen,
        attempt: &impl AsyncFn(C, Seen) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Trouble> {
        let limit = self.deadline.at_most(ATTEMPT_MAX);
        let asked = async {
            let channel = Dialer::new(Purpose::Command).connect(address).await;
            let channel = channel.map_err(|error| Trouble::Broken(format!("{address}: {error}")))?;
            let service = C::over(InterceptedService::new(channel, self.trace.clone()));
            attempt(service, seen).await.map(tonic::Response::into_inner).map_err(Trouble::from)
        };
        tokio::time::timeout(limit, asked).await.unwrap_or(Err(Trouble::Silent(limit)))
    }
}

/// Whether a node keeps what functions keep.
pub(crate) fn keeps(detail: &pb::NodeDetail) -> bool {
    let node = detail.node.as_ref();
    let runs =
        detail.processes.as_ref().is_some_and(|it| it.children.iter().any(|child| child.name == "store"));
    runs || node.is_some_and(|node| node.roles().any(|role| role == pb::Role::Store))
}

fn nobody() -> Refusal {
    Refusal::new(Code::NotLeader, "nobody leads the data group just now")
}

fn leads(reply: &pb::ListGroupsReply, whose: Whose<'_>) -> Option<Leads> {
    let group = match whose {
        Whose::Namespace(namespace) => *reply.slots.get(slot_of(namespace))?,
        Whose::Group(group) => group,
    };
    let detail = reply.groups.iter().find(|detail| detail.group.as_ref().is_some_and(|it| it.id == group))?;
    let statuses = detail.replicas.iter().filter_map(|replica| Some((replica, replica.status.as_ref()?)));
    let leaders = statuses.filter(|(_, status)| status.role() == pb::GroupRole::Leader);
    let (leader, status) = leaders.max_by_key(|(_, status)| status.term)?;
    Some(Leads { address: leader.address.clone(), seen: Seen { group, sequence: status.sequence } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_by_its_role_or_by_its_process() {
        let node = |roles: &[pb::Role]| pb::Node {
            roles: roles.iter().map(|role| (*role).into()).collect(),
            ..pb::Node::default()
        };
        let of = |roles| pb::NodeDetail { node: Some(node(roles)), ..pb::NodeDetail::default() };
        assert!(keeps(&of(&[pb::Role::Worker, pb::Role::Store])));
        assert!(!keeps(&of(&[pb::Role::Worker])));
        let child = |name: &str| pb::ChildProcess { name: name.to_owned(), ..pb::ChildProcess::default() };
        let told = pb::NodeProcesses { children: vec![child("data"), child("store")], ..Default::default() };
        assert!(keeps(&pb::NodeDetail { processes: Some(told), ..of(&[pb::Role::Worker]) }));
    }

    #[test]
    fn the_leader_of_the_newest_term_is_asked() {
        let replica = |node: u64, role: pb::GroupRole, term| pb::GroupReplica {
            node,
            address: format!("n{node}:7403"),
            status: Some(pb::GroupStatus {
                role: role.into(),
                term,
                sequence: 9,
                ..pb::GroupStatus::default()
            }),
            ..pb::GroupReplica::default()
        };
        let group = |id, replicas| pb::GroupDetail {
            group: Some(pb::DataGroup { id, ..pb::DataGroup::default() }),
            replicas,
        };
        let replicas = vec![
            replica(1, pb::GroupRole::Leader, 3),
            replica(2, pb::GroupRole::Leader, 4),
            replica(3, pb::GroupRole::Follower, 4),
        ];
        let mut reply =
            pb::ListGroupsReply { groups: vec![group(1, vec![]), group(2, replicas)], slots: vec![2; 256] };
        let namespace = Namespace::default();
        assert_eq!(
            leads(&reply, Whose::Namespace(&namespace)),
            Some(Leads { address: "n2:7403".to_owned(), seen: Seen { group: 2, sequence: 9 } })
        );
        reply.slots = vec![1; 256];
        assert_eq!(leads(&reply, Whose::Namespace(&namespace)), None, "nobody leads it");
        assert_eq!(leads(&reply, Whose::Group(2)).map(|leads| leads.address), Some("n2:7403".to_owned()));
        assert_eq!(leads(&reply, Whose::Group(3)), None, "there is none");
    }
}
