//! One node, reached.

use std::time::Duration;

use coracle_proto::id::ClusterId;
use coracle_proto::pb;
use coracle_proto::pb::admin_client::AdminClient;
use coracle_transport::{Dialer, Purpose};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::{Address, Deadline, Trace};

/// A connection is refused or made in less, but over the slowest of networks.
const CONNECT_MAX: Duration = Duration::from_secs(2);
// That bound says how long was waited, and for what; the connection's own would say less.
const _: () = assert!(CONNECT_MAX.as_millis() < Purpose::Command.connect_max().as_millis());
/// Bytes of one answer: lists of 100,000 functions stay below.
const ANSWER_MAX: usize = 64 << 20;

/// The generated client; each of its requests carries the command's trace.
pub(crate) type Admin = AdminClient<InterceptedService<Channel, Trace>>;

/// What a node says about its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    /// Which cluster it is of.
    pub(crate) cluster: ClusterId,
    /// For people.
    pub(crate) cluster_name: String,
    /// The revision that it has seen.
    pub(crate) revision: u64,
    /// The version of its program.
    pub(crate) version: String,
    /// Where else to ask.
    pub(crate) controllers: Vec<Address>,
    /// Where functions are called.
    pub(crate) gateways: Vec<Address>,
}

/// A node that answered.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) address: Address,
    pub(super) admin: Admin,
    pub(super) info: Info,
}

impl Connection {
    /// Connects and asks for the cluster; the error is for people.
    pub(super) async fn open(address: &Address, trace: Trace, deadline: Deadline) -> Result<Self, String> {
        let limit = deadline.at_most(CONNECT_MAX);
        let opened = async {
            let dialer = Dialer::new(Purpose::Command);
            let channel = dialer.connect(address).await.map_err(|error| deepest(&error))?;
            let mut admin =
                AdminClient::with_interceptor(channel, trace).max_decoding_message_size(ANSWER_MAX);
            let reply = admin.info(pb::InfoRequest {}).await.map_err(|status| {
                format!("answered, but not as a node of Coracle does: {}", status.message())
            })?;
            let info = Info::try_from(reply.into_inner())?;
            Ok(Self { address: address.clone(), admin, info })
        };
        let silent = || format!("no answer within {} ms", limit.as_millis());
        tokio::time::timeout(limit, opened).await.unwrap_or_else(|_| Err(silent()))
    }
}

impl TryFrom<pb::InfoReply> for Info {
    type Error = String;

    fn try_from(wire: pb::InfoReply) -> Result<Self, String> {
        // An address that is none cannot be used: there are others.
        let addresses = |texts: Vec<String>| texts.iter().filter_map(|text| text.parse().ok()).collect();
        Ok(Self {
            cluster: ClusterId::try_from(&wire.cluster_id[..]).map_err(|error| error.to_string())?,
            cluster_name: wire.cluster_name,
            revision: wire.revision,
            version: wire.version,
            controllers: addresses(wire.controllers),
            gateways: addresses(wire.gateways),
        })
    }
}

/// The first cause says most: 'connection refused' rather than 'transport error'.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
