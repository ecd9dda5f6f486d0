//! Whoever leads the data group of a namespace: it is looked for through the cluster's controllers, and asked itself.

use std::time::Duration;

use coracle_proto::id::Namespace;
use coracle_proto::pb;
use coracle_proto::pb::key_value_client::KeyValueClient;
use coracle_proto::record::slot_of;
use coracle_proto::status::{Code, Refusal};
use coracle_transport::{Dialer, Purpose};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::trouble::{Trouble, Verdict};
use super::{ATTEMPT_MAX, Client, Trace};
use crate::exit::Failure;

/// A value and its key, with what a page of a list has: as the store sends them.
const ANSWER_MAX: usize = 64 << 20;
/// Before it is looked again who leads: an election takes longer.
const PAUSE: Duration = Duration::from_millis(100);

/// The generated client; each of its requests carries the command's trace.
pub(crate) type Keeper = KeyValueClient<InterceptedService<Channel, Trace>>;

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
    /// Asks the leader of the namespace's data group, until one answers. `what` names the request in errors; a request that
    /// changes something must have an id.
    pub(crate) async fn keep<T>(
        &mut self,
        what: &str,
        namespace: &Namespace,
        attempt: impl AsyncFn(Keeper, Seen) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Failure> {
        let (mut told, mut first, mut lost) = (false, None, false);
        loop {
            let trouble = match self.leads(namespace).await? {
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
            if trouble.verdict() == Verdict::Final || self.deadline.is_over() {
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

    async fn leads(&mut self, namespace: &Namespace) -> Result<Option<Leads>, Failure> {
        let list = async |mut admin: super::Admin| admin.list_groups(pb::ListGroupsRequest {}).await;
        let reply = self.call("looking for the data group", list).await?;
        if reply.slots.is_empty() {
            let sentence =
                "no node keeps anything yet: give some the role store ('coracle server --role ...,store')";
            return Err(Refusal::new(Code::BucketNotFound, sentence).into());
        }
        Ok(leads(&reply, namespace))
    }

    async fn attempt<T>(
        &self,
        address: &str,
        seen: Seen,
        attempt: &impl AsyncFn(Keeper, Seen) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, Trouble> {
        let limit = self.deadline.at_most(ATTEMPT_MAX);
        let asked = async {
            let channel = Dialer::new(Purpose::Command).connect(address).await;
            let channel = channel.map_err(|error| Trouble::Broken(format!("{address}: {error}")))?;
            let keeper = KeyValueClient::with_interceptor(channel, self.trace.clone());
            let answered = attempt(keeper.max_decoding_message_size(ANSWER_MAX), seen).await;
            answered.map(tonic::Response::into_inner).map_err(Trouble::from)
        };
        tokio::time::timeout(limit, asked).await.unwrap_or(Err(Trouble::Silent(limit)))
    }
}

fn nobody() -> Refusal {
    Refusal::new(Code::NotLeader, "nobody leads the data group just now")
}

fn leads(reply: &pb::ListGroupsReply, namespace: &Namespace) -> Option<Leads> {
    let group = *reply.slots.get(slot_of(namespace))?;
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
            leads(&reply, &namespace),
            Some(Leads { address: "n2:7403".to_owned(), seen: Seen { group: 2, sequence: 9 } })
        );
        reply.slots = vec![1; 256];
        assert_eq!(leads(&reply, &namespace), None, "nobody leads it");
    }
}
