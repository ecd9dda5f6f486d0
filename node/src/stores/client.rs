//! What stores are asked, one method for each question.

mod blobs;
mod publish;
mod values;
mod webhooks;

pub use self::blobs::{Begin, BlobClient, Sending};

use std::time::{Duration, Instant};

use coracle_proto::codec::DecodeError;
use coracle_proto::id::{GroupId, InvocationId, NodeId, RequestId};
use coracle_proto::pb;
use coracle_proto::pb::deliveries_client::DeliveriesClient;
use coracle_proto::pb::groups_client::GroupsClient;
use coracle_proto::pb::invocations_client::InvocationsClient;
use coracle_proto::status::{Code, Refusal};
use tonic::transport::Channel;

use super::ask::{Question, traced};
use super::message::{Acknowledged, Kept, Settlement, Submission, Submitted, Taken, Taking};
use super::record::Record;
use super::{Stores, wire};
use crate::clock;

/// Deliveries of one reply: 256 messages of 64 KiB with their heads of 32 KiB, and more.
const TAKEN_BYTES_MAX: usize = 32 << 20;

fn deliveries(channel: Channel) -> DeliveriesClient<Channel> {
    DeliveriesClient::new(channel).max_decoding_message_size(TAKEN_BYTES_MAX)
}

impl Stores {
    /// Has an invocation kept until it is run: when this answers it is.
    ///
    /// # Errors
    /// [`Code::NoStore`], [`Code::QueueFull`], [`Code::IdempotencyConflict`]; at the deadline why nobody answered.
    pub async fn submit(&self, submission: Submission, deadline: Instant) -> Result<Submitted, Refusal> {
        let group = self.group_of(&submission.function.namespace)?;
        let request = self.request(group, deadline, 0).await?;
        let place = self.place(group, submission.function.namespace.to_string());
        let wire = wire::submit_request(submission, place, request);
        let submit = |channel| {
            let wire = wire.clone();
            async move { InvocationsClient::new(channel).submit(traced(wire)).await }
        };
        let reply: pb::SubmitReply = self.ask(Question::change(group, deadline), submit).await?;
        self.reached(group, reply.sequence);
        wire::submitted(&reply).map_err(not_understood)
    }

    /// The record of an invocation, from the group that has it; when it has ended, or after `waits`.
    ///
    /// # Errors
    /// [`Code::InvocationNotFound`]; at the deadline why nobody answered.
    pub async fn get(
        &self,
        group: GroupId,
        invocation: InvocationId,
        waits: Duration,
        deadline: Instant,
    ) -> Result<Record, Refusal> {
        let question = Question { waits, ..Question::read(group, deadline) };
        self.read(question, invocation, false).await.map(|(record, _)| record)
    }

    /// The record with what was answered.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn result(
        &self,
        group: GroupId,
        invocation: InvocationId,
        waits: Duration,
        deadline: Instant,
    ) -> Result<(Record, Option<Kept>), Refusal> {
        let question = Question { waits, ..Question::read(group, deadline) };
        self.read(question, invocation, true).await
    }

    async fn read(
        &self,
        question: Question,
        invocation: InvocationId,
        answer: bool,
    ) -> Result<(Record, Option<Kept>), Refusal> {
        let wire = pb::GetInvocationRequest {
            cluster_id: self.inner.cluster.to_wire(),
            group: question.group.get(),
            invocation: invocation.to_wire(),
            wait_ms: u32::try_from(clock::millis(question.waits)).unwrap_or(u32::MAX),
            answer,
        };
        let get = |channel| {
            let wire = wire.clone();
            async move { InvocationsClient::new(channel).get(traced(wire)).await }
        };
        let reply = self.ask(question, get).await?;
        self.seen(question.group, reply)
    }

    /// Ends an invocation: what waits is not run, what runs is stopped.
    ///
    /// # Errors
    /// [`Code::Conflict`] where it has ended; otherwise as [`Self::get`].
    pub async fn cancel(
        &self,
        group: GroupId,
        invocation: InvocationId,
        deadline: Instant,
    ) -> Result<Record, Refusal> {
        let wire = self.change(group, invocation, deadline).await?;
        let cancel = |channel| {
            let wire = wire.clone();
            async move { InvocationsClient::new(channel).cancel(traced(wire)).await }
        };
        let reply = self.ask(Question::change(group, deadline), cancel).await?;
        self.seen(group, reply).map(|(record, _)| record)
    }

    /// Gives a dead letter all its attempts again.
    ///
    /// # Errors
    /// [`Code::Conflict`] where it is none; otherwise as [`Self::get`].
    pub async fn retry(
        &self,
        group: GroupId,
        invocation: InvocationId,
        deadline: Instant,
    ) -> Result<Record, Refusal> {
        let wire = self.change(group, invocation, deadline).await?;
        let retry = |channel| {
            let wire = wire.clone();
            async move { InvocationsClient::new(channel).retry(traced(wire)).await }
        };
        let reply = self.ask(Question::change(group, deadline), retry).await?;
        self.seen(group, reply).map(|(record, _)| record)
    }

    /// Asks for messages, and tells what this node has. The store waits for something to tell.
    ///
    /// # Errors
    /// At the deadline why nobody answered.
    pub async fn take(
        &self,
        group: GroupId,
        node: NodeId,
        taking: &Taking,
        deadline: Instant,
    ) -> Result<Taken, Refusal> {
        let wire = wire::take_request(taking, self.inner.cluster, group, node);
        let take = |channel| {
            let wire = wire.clone();
            async move { deliveries(channel).take(tonic::Request::new(wire)).await }
        };
        let question = Question { waits: taking.waits, ..Question::read(group, deadline) };
        let reply: pb::TakeReply = self.ask(question, take).await?;
        let newest =
            reply.deliveries.iter().filter_map(|it| it.ticket.as_ref()).map(|it| it.fence_sequence).max();
        self.reached(group, newest.unwrap_or(0));
        Ok(wire::taken(reply))
    }

    /// Ends an attempt.
    ///
    /// # Errors
    /// [`Code::ClaimLost`]: what was done counts for nothing. At the deadline why nobody answered.
    pub async fn settle(
        &self,
        group: GroupId,
        settlement: &Settlement,
        deadline: Instant,
    ) -> Result<Acknowledged, Refusal> {
        let request = self.request(group, deadline, settlement.ticket.fence.sequence).await?;
        let wire = wire::settle_request(settlement, self.inner.cluster, group, request);
        let settle = |channel| {
            let wire = wire.clone();
            async move { deliveries(channel).settle(traced(wire)).await }
        };
        let reply: pb::SettleReply = self.ask(Question::change(group, deadline), settle).await?;
        wire::acknowledged(&reply).map_err(not_understood)
    }

    fn seen(&self, group: GroupId, reply: pb::GetInvocationReply) -> Result<(Record, Option<Kept>), Refusal> {
        self.reached(group, reply.sequence);
        wire::seen(reply).map_err(not_understood)
    }

    fn place(&self, group: GroupId, namespace: String) -> pb::EventsPlace {
        pb::EventsPlace { cluster_id: self.inner.cluster.to_wire(), group: group.get(), namespace }
    }

    async fn change(
        &self,
        group: GroupId,
        invocation: InvocationId,
        deadline: Instant,
    ) -> Result<pb::ChangeInvocationRequest, Refusal> {
        Ok(pb::ChangeInvocationRequest {
            cluster_id: self.inner.cluster.to_wire(),
            group: group.get(),
            invocation: invocation.to_wire(),
            request: Some(self.request(group, deadline, 0).await?),
        })
    }

    /// A new request to change something: it is done once, however often it is sent. The group has reached `at_least`.
    async fn request(
        &self,
        group: GroupId,
        deadline: Instant,
        at_least: u64,
    ) -> Result<pb::KvRequest, Refusal> {
        let known = self.known().sequence(group, clock::now());
        let since = match known {
            Some(known) => known,
            None => self.told(group, deadline).await?,
        };
        let id = RequestId::new(rand::random()).to_wire();
        Ok(pb::KvRequest { id, since: since.max(at_least) })
    }

    /// How far a group is: whoever wants to know while somebody asks has that one's answer, as far as its own time goes.
    async fn told(&self, group: GroupId, deadline: Instant) -> Result<u64, Refusal> {
        let turn = self.known().turn(group);
        let left = deadline.saturating_duration_since(clock::now());
        let nobody = || Refusal::new(Code::NoQuorum, "nobody has told how far the data group is");
        let _turn = tokio::time::timeout(left, turn.lock()).await.map_err(|_| nobody())?;
        let known = self.known().sequence(group, clock::now());
        match known {
            Some(known) => Ok(known),
            None => self.sequence(group, deadline).await,
        }
    }

    /// How far a group is, as its leader knows it.
    async fn sequence(&self, group: GroupId, deadline: Instant) -> Result<u64, Refusal> {
        let cluster_id = self.inner.cluster.to_wire();
        let status = |channel| {
            let wire = pb::GroupsStatusRequest { cluster_id: cluster_id.clone() };
            async move {
                let reply = GroupsClient::new(channel).status(traced(wire)).await?.into_inner();
                let leads =
                    |it: &pb::GroupStatus| it.group == group.get() && it.role() == pb::GroupRole::Leader;
                match reply.groups.into_iter().find(leads) {
                    Some(told) => Ok(tonic::Response::new(told.sequence)),
                    None => Err(Refusal::new(Code::NotLeader, "the store does not lead the group").into()),
                }
            }
        };
        let sequence = self.ask(Question::read(group, deadline), status).await?;
        self.reached(group, sequence);
        Ok(sequence)
    }

    fn reached(&self, group: GroupId, sequence: u64) {
        if sequence > 0 {
            self.known().reached(group, sequence, clock::now());
        }
    }
}

fn not_understood(error: DecodeError) -> Refusal {
    Refusal::new(Code::Internal, format!("a store's answer was not understood: {error}"))
}
