//! What the supervisor asks of its child.

mod exposition;

use std::sync::Arc;

use coracle_proto::id::Revision;
use coracle_proto::pb::process_server::Process;
use coracle_proto::pb::{InspectReply, InspectRequest};
use tonic::{Request, Response, Status};

use self::exposition::exposition;
use crate::context::Context;

/// Answers for this process at 7401, through the supervisor.
#[derive(Debug)]
pub(crate) struct ProcessService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Process for ProcessService {
    async fn inspect(&self, request: Request<InspectRequest>) -> Result<Response<InspectReply>, Status> {
        let loaded = self.context.hub.state().revision() > Revision::ZERO;
        let not_yet = (!loaded).then(|| "the cluster's state is not loaded yet".to_owned());
        let not_any_more = self.context.closing.is_cancelled().then(|| "the controller ends".to_owned());
        let reasons: Vec<_> = not_yet.into_iter().chain(not_any_more).collect();
        let metrics = match request.into_inner().metrics {
            true => exposition(&self.context).map_err(|error| Status::internal(error.to_string()))?,
            false => String::new(),
        };
        Ok(Response::new(InspectReply { metrics, ready: reasons.is_empty(), reasons }))
    }
}
