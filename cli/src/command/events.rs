//! The way of a command to the records of invocations, and to queues.

use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{FunctionId, InvocationId, Namespace, RequestId};
use coracle_proto::pb::{self, InvocationState};
use coracle_proto::status::{Code, Refusal};

use super::Session;
use crate::address::Address;
use crate::client::{
    Admin, Client, Deadline, Invocations, Once, Queues, STORE_WAIT_MAX, Schedules, Seen, Service, Whose,
};
use crate::exit::{Exit, Failure};
use crate::units::show_duration;

/// Between two questions whether an invocation has ended, where the store did not wait.
const PAUSE: Duration = Duration::from_millis(200);

type Asked<T> = Result<tonic::Response<T>, tonic::Status>;

/// The stores of a cluster.
#[derive(Debug)]
pub(super) struct Events {
    client: Client,
    cluster: Bytes,
}

/// An invocation that a group knows.
#[derive(Debug, Clone)]
pub(super) struct Found {
    group: u32,
    /// As it was just now.
    pub(super) record: pb::InvocationRecord,
}

/// A change of one invocation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// See [`InvocationState::Cancelled`].
    Cancel,
    /// See [`InvocationState::Dead`].
    Retry,
}

impl Events {
    pub(super) async fn reach(session: &Session<'_>) -> Result<Self, Failure> {
        Self::of(session.connect().await?)
    }

    pub(super) fn of(client: Client) -> Result<Self, Failure> {
        let cluster = client.info()?.cluster.to_wire();
        Ok(Self { client, cluster })
    }

    pub(super) fn into_client(self) -> Client {
        self.client
    }

    /// Whom a controller names for calls; there may be none.
    pub(super) fn gateways(&self) -> Result<&[Address], Failure> {
        Ok(&self.client.info()?.gateways)
    }

    /// The trace of the command, which goes on with what is published (W3C `traceparent`).
    pub(super) fn trace(&self) -> String {
        self.client.trace().kept()
    }

    /// Its id.
    pub(super) fn trace_id(&self) -> String {
        self.client.trace().to_string()
    }

    /// Whether the function is there.
    pub(super) async fn find_function(&mut self, id: &FunctionId) -> Result<(), Failure> {
        let (namespace, name) = (id.namespace.to_string(), id.name.to_string());
        let request = pb::GetFunctionRequest { namespace, name, stale: false };
        let find = async |mut admin: Admin| admin.get_function(request.clone()).await;
        self.client.call(&format!("function '{id}'"), find).await.map(drop)
    }

    /// Asks the cluster's controllers.
    pub(super) async fn cluster<T>(
        &mut self,
        what: &str,
        attempt: impl AsyncFn(Admin) -> Asked<T>,
    ) -> Result<T, Failure> {
        self.client.call(what, attempt).await
    }

    /// Asks for invocations of a namespace.
    pub(super) async fn invocations<T>(
        &mut self,
        what: &str,
        namespace: &Namespace,
        attempt: impl AsyncFn(Invocations, pb::EventsPlace) -> Asked<T>,
    ) -> Result<T, Failure> {
        let place = place(&self.cluster, namespace);
        let attempt = async |service, seen: Seen| attempt(service, place(seen)).await;
        self.client.keep(what, Whose::Namespace(namespace), attempt).await
    }

    /// Asks for queues of a namespace.
    pub(super) async fn queues<T>(
        &mut self,
        what: &str,
        namespace: &Namespace,
        attempt: impl AsyncFn(Queues, pb::EventsPlace) -> Asked<T>,
    ) -> Result<T, Failure> {
        let place = place(&self.cluster, namespace);
        let attempt = async |service, seen: Seen| attempt(service, place(seen)).await;
        self.client.keep(what, Whose::Namespace(namespace), attempt).await
    }

    /// Asks for schedules of a namespace; told too is what the group had seen before, which makes a request that
    /// comes again known.
    pub(super) async fn schedules<T>(
        &mut self,
        what: &str,
        namespace: &Namespace,
        attempt: impl AsyncFn(Schedules, pb::EventsPlace, u64) -> Asked<T>,
    ) -> Result<T, Failure> {
        let place = place(&self.cluster, namespace);
        let attempt = async |service, seen: Seen| attempt(service, place(seen), seen.sequence).await;
        self.client.keep(what, Whose::Namespace(namespace), attempt).await
    }

    /// Asks a service of a namespace's group.
    pub(super) async fn ask<C: Service, T>(
        &mut self,
        what: &str,
        namespace: &Namespace,
        attempt: impl AsyncFn(C, pb::EventsPlace) -> Asked<T>,
    ) -> Result<T, Failure> {
        let place = place(&self.cluster, namespace);
        let attempt = async |service, seen: Seen| attempt(service, place(seen)).await;
        self.client.keep(what, Whose::Namespace(namespace), attempt).await
    }

    /// Asks it for a change, done once however often it is sent.
    pub(super) async fn alter<C: Service, T>(
        &mut self,
        what: &str,
        namespace: &Namespace,
        attempt: impl AsyncFn(C, pb::EventsPlace, Option<pb::KvRequest>) -> Asked<T>,
    ) -> Result<T, Failure> {
        let place = place(&self.cluster, namespace);
        let once = Once::new();
        let attempt = async |service, seen: Seen| {
            let request = pb::KvRequest { id: once.id(), since: seen.sequence };
            once.heard(attempt(service, place(seen), Some(request)).await)
        };
        self.client.keep(what, Whose::Namespace(namespace), attempt).await
    }

    /// Whether there is a store to ask.
    pub(super) async fn keeps_anything(&mut self) -> Result<bool, Failure> {
        self.client.keeps_anything().await
    }

    /// Begins to wait anew: for what lasts longer than any deadline.
    pub(super) fn renew(&mut self) {
        self.client.renew();
    }

    /// Looks in all groups: an id does not say its namespace. One that does not answer is no reason not to ask the
    /// next one.
    pub(super) async fn find(&mut self, id: InvocationId) -> Result<Found, Failure> {
        let mut trouble = None;
        for group in self.client.groups().await? {
            match self.get(group, id, Duration::ZERO, false).await {
                Ok(reply) => return Ok(Found { group, record: reply.record.unwrap_or_default() }),
                Err(failure) if failure.exit == Exit::NotFound => {}
                Err(failure) => trouble = trouble.or(Some(failure)),
            }
        }
        let unknown =
            || Refusal::new(Code::InvocationNotFound, format!("there is no invocation {id}")).into();
        Err(trouble.unwrap_or_else(unknown))
    }

    /// With what it answered.
    pub(super) async fn answer(&mut self, id: InvocationId) -> Result<pb::GetInvocationReply, Failure> {
        let group = self.find(id).await?.group;
        self.get(group, id, Duration::ZERO, true).await
    }

    /// Waits until it has ended, with what it answered.
    pub(super) async fn ended(
        &mut self,
        id: InvocationId,
        within: Duration,
    ) -> Result<pb::GetInvocationReply, Failure> {
        let group = self.find(id).await?.group;
        let until = Deadline::after(within);
        loop {
            self.client.renew();
            // The answer comes before the question is given up.
            let once = STORE_WAIT_MAX.min(self.client.deadline().total() / 2);
            let reply = self.get(group, id, until.at_most(once), true).await?;
            let record = reply.record.clone().unwrap_or_default();
            if has_ended(record.state()) {
                return Ok(reply);
            }
            if until.is_over() {
                let sentence = format!("invocation {id} has not ended after {}", show_duration(within));
                return Err(Failure::new(Exit::TimedOut, sentence));
            }
            until.pause(PAUSE).await;
        }
    }

    /// Done once, however often it is sent.
    pub(super) async fn change(&mut self, id: InvocationId, change: Change) -> Result<Found, Failure> {
        let group = self.find(id).await?.group;
        let (request, cluster) = (RequestId::new(rand::random()).to_wire(), self.cluster.clone());
        let attempt = async |mut service: Invocations, seen: Seen| {
            let request = pb::ChangeInvocationRequest {
                cluster_id: cluster.clone(),
                group: seen.group,
                invocation: id.to_wire(),
                request: Some(pb::KvRequest { id: request.clone(), since: seen.sequence }),
            };
            match change {
                Change::Cancel => service.cancel(request).await,
                Change::Retry => service.retry(request).await,
            }
        };
        let what = match change {
            Change::Cancel => "invocation cancel",
            Change::Retry => "invocation retry",
        };
        let reply = self.client.keep(what, Whose::Group(group), attempt).await?;
        Ok(Found { group, record: reply.record.unwrap_or_default() })
    }

    async fn get(
        &mut self,
        group: u32,
        id: InvocationId,
        wait: Duration,
        answer: bool,
    ) -> Result<pb::GetInvocationReply, Failure> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let cluster = self.cluster.clone();
        let attempt = async |mut service: Invocations, seen: Seen| {
            let (cluster_id, group, invocation) = (cluster.clone(), seen.group, id.to_wire());
            service.get(pb::GetInvocationRequest { cluster_id, group, invocation, wait_ms, answer }).await
        };
        self.client.keep("invocation", Whose::Group(group), attempt).await
    }
}

fn place(cluster: &Bytes, namespace: &Namespace) -> impl Fn(Seen) -> pb::EventsPlace + use<> {
    let (cluster_id, namespace) = (cluster.clone(), namespace.to_string());
    move |seen| pb::EventsPlace {
        cluster_id: cluster_id.clone(),
        group: seen.group,
        namespace: namespace.clone(),
    }
}

pub(super) fn has_ended(state: InvocationState) -> bool {
    match state {
        InvocationState::Unspecified | InvocationState::Waiting | InvocationState::Running => false,
        InvocationState::Succeeded
        | InvocationState::Dead
        | InvocationState::Cancelled
        | InvocationState::Dropped => true,
    }
}

/// A bucket of the place's namespace.
pub(super) fn bucket_at(place: pb::EventsPlace, bucket: &str) -> pb::KvPlace {
    let pb::EventsPlace { cluster_id, group, namespace } = place;
    pb::KvPlace { cluster_id, group, namespace, bucket: bucket.to_owned() }
}

/// The queue of a function: no name that people give has a slash.
pub(super) fn queue_of(function: &FunctionId) -> String {
    format!("function/{}", function.name)
}

#[cfg(test)]
mod tests;
