//! Leaves a call whose answer has not ended while its request's body waits for window.
//!
//! The stream of such a call is held open by whoever waits to send: dropping the answer does not reset it, and once the
//! answer's own window is full the worker does not look at it again. So the worker is told, and the answer is read on
//! until it has ended; that resets the stream.

use std::sync::{Arc, Weak};
use std::time::Duration;

use coracle_proto::id::{ClusterId, InvocationId, NodeId};
use coracle_proto::pb::{self, worker_client::WorkerClient};
use tokio::runtime::Handle;
use tonic::Streaming;

use super::gate::Gate;
use super::peer::Leg;
use crate::call::Call;

/// A node that does not answer for so long is left to its connection, which is closed when nothing comes on it.
const LEAVE_MAX: Duration = Duration::from_secs(10);

/// What it takes to leave one call.
#[derive(Debug)]
pub(super) struct Leave {
    cluster: ClusterId,
    node: NodeId,
    invocation: InvocationId,
    attempt: u32,
    /// Is there as long as the request's body is not sent.
    upload: Weak<Gate>,
}

impl Leave {
    /// `gate` is what the request's body holds as long as it is sent, and nobody else when the answer has begun.
    pub(super) fn new(call: &Call, cluster: ClusterId, node: NodeId, gate: &Arc<Gate>) -> Self {
        let (invocation, attempt) = (call.invocation, call.attempt);
        Self { cluster, node, invocation, attempt, upload: Arc::downgrade(gate) }
    }

    /// Ends the call. Where the request was sent, dropping the answer is enough.
    pub(super) fn leave(&self, open: &Leg, mut frames: Streaming<pb::AnswerFrame>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if self.upload.strong_count() == 0 {
            return;
        }
        let request = pb::CancelRequest {
            cluster_id: self.cluster.to_wire(),
            node: self.node.get(),
            invocation_id: self.invocation.to_wire(),
            attempt: self.attempt,
        };
        let mut client = WorkerClient::new(open.channel());
        runtime.spawn(tokio::time::timeout(LEAVE_MAX, async move {
            let reading = async { while let Ok(Some(_)) = frames.message().await {} };
            let (told, ()) = futures::future::join(client.cancel(request), reading).await;
            if let Err(error) = told {
                tracing::debug!(%error, "a worker could not be told that a caller left");
            }
        }));
    }
}
