//! Leaves a call whose answer has not ended while its request's body waits for window.
//!
//! The stream of such a call is held open by whoever waits to send: dropping the answer does not reset it, and once the
//! answer's own window is full the worker does not look at it again. So the worker is told, and the answer is read on
//! until it has ended; that resets the stream.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::NodeId;
use coracle_proto::pb::{self, worker_client::WorkerClient};
use tokio::runtime::Handle;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::call::Call;

/// A node that does not answer for so long is given up with its connections.
const LEAVE_MAX: Duration = Duration::from_secs(10);

/// What it takes to leave one call.
#[derive(Debug)]
pub(super) struct Leave {
    request: pb::CancelRequest,
    /// Is there as long as the request's body is not sent.
    upload: Weak<AtomicBool>,
}

impl Leave {
    /// `sent` is what the request's body holds as long as it is sent, and nobody else when the answer has begun.
    pub(super) fn new(call: &Call, cluster: Bytes, node: NodeId, sent: &Arc<AtomicBool>) -> Self {
        let request = pb::CancelRequest {
            cluster_id: cluster,
            node: node.get(),
            invocation_id: call.invocation.to_wire(),
            attempt: call.attempt,
        };
        Self { request, upload: Arc::downgrade(sent) }
    }

    /// Ends the call. Where the request was sent, dropping the answer is enough.
    pub(super) fn leave(&self, channel: Channel, mut frames: Streaming<pb::AnswerFrame>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.upload.strong_count() == 0 {
            return;
        }
        let request = self.request.clone();
        runtime.spawn(tokio::time::timeout(LEAVE_MAX, async move {
            let mut client = WorkerClient::new(channel);
            let reading = async { while let Ok(Some(_)) = frames.message().await {} };
            let (told, ()) = futures::future::join(client.cancel(request), reading).await;
            if let Err(error) = told {
                tracing::debug!(%error, "a worker could not be told that a caller left");
            }
        }));
    }
}
