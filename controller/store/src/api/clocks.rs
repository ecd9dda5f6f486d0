//! What time it is here: the leader of a group goes by the clocks of all its members.

use std::sync::Arc;

use coracle_proto::pb::clocks_server::Clocks;
use coracle_proto::pb::{ReadClockReply, ReadClockRequest};
use tonic::{Request, Response, Status};

use crate::app::Context;
use crate::clock;

/// Serves other stores.
pub(crate) struct ClocksService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Clocks for ClocksService {
    async fn read(&self, request: Request<ReadClockRequest>) -> Result<Response<ReadClockReply>, Status> {
        self.context.check_cluster(&request.get_ref().cluster_id)?;
        Ok(Response::new(ReadClockReply { unix_ms: clock::unix_ms() }))
    }
}
