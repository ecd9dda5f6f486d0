//! Asks the children about themselves, by gRPC on loopback.

use std::time::Duration;

use coracle_proto::pb::process_client::ProcessClient;
use coracle_proto::pb::{InspectReply, InspectRequest};
use coracle_transport::{Dialer, Purpose};
use tonic::transport::Channel;

use crate::ground::{Addresses, Kind, local};

/// A child that takes longer hangs, or is being started again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Metrics of a node with many functions, bytes; label cardinality is bounded where they are made.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// What a child said of itself, or nothing.
#[derive(Debug)]
pub(crate) struct Report {
    /// Which child.
    pub(crate) kind: Kind,
    /// Its answer.
    pub(crate) reply: Option<InspectReply>,
}

/// Connections to the children that the node has.
#[derive(Debug)]
pub(crate) struct Inspector(Vec<(Kind, ProcessClient<Channel>)>);

impl Inspector {
    /// Connects when it is first asked, and again after a restart.
    pub(crate) fn new(addresses: Addresses) -> Self {
        let children = [
            (Kind::Controller, addresses.grpc),
            (Kind::Data, addresses.data),
            (Kind::Store, addresses.store),
        ];
        let client = |(kind, bound): (Kind, Option<_>)| {
            let dialer = Dialer::new(Purpose::Question(ANSWER_TIMEOUT));
            let channel = dialer.connect_lazily(local(bound?)).ok()?;
            Some((kind, ProcessClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX)))
        };
        Self(children.into_iter().filter_map(client).collect())
    }

    /// Asks all at once for their metrics.
    pub(crate) async fn metrics(&self) -> Vec<Report> {
        futures::future::join_all(self.0.iter().map(|child| ask(child, true))).await
    }

    /// Asks the one that decides whether the node is ready: calls are served without a controller, so that a node
    /// with a data plane is as ready as that.
    pub(crate) async fn readiness(&self) -> Option<Report> {
        let data = self.0.iter().find(|(kind, _)| *kind == Kind::Data);
        Some(ask(data.or_else(|| self.0.first())?, false).await)
    }
}

async fn ask((kind, client): &(Kind, ProcessClient<Channel>), metrics: bool) -> Report {
    let reply = client.clone().inspect(InspectRequest { metrics }).await;
    Report { kind: *kind, reply: reply.ok().map(tonic::Response::into_inner) }
}
