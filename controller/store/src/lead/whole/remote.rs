//! What another member says of its chunks.

use std::time::Duration;

use coracle_proto::id::{ClusterId, GroupId};
use coracle_proto::pb::GroupsStatusRequest;
use coracle_proto::pb::groups_client::GroupsClient;
use coracle_transport::{Dialer, Purpose};

use super::Said;

/// Who does not answer within this time is asked again.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// Asks the store at an address.
pub(super) async fn ask(cluster: ClusterId, group: GroupId, address: &str) -> Said {
    let Ok(channel) = Dialer::new(Purpose::Question(ANSWERED_WITHIN)).connect_lazily(address) else {
        return Said::Silent;
    };
    let asked = GroupsStatusRequest { cluster_id: cluster.to_wire() };
    let mut client = GroupsClient::new(channel);
    match tokio::time::timeout(ANSWERED_WITHIN, client.status(asked)).await {
        Ok(Ok(reply)) => {
            let groups = reply.into_inner().groups;
            let of_this = groups.iter().find(|it| it.group == group.get());
            of_this.map_or(Said::Silent, |it| it.whole.map_or(Said::Nothing, Said::Whole))
        }
        Ok(Err(_)) | Err(_) => Said::Silent,
    }
}
