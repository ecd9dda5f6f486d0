//! Passes an upload on to a data plane, chunk by chunk: nothing of it is stored here. Whoever leaves ends both halves.

use std::time::Duration;

use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_proto::pb::{UploadChunk, UploadEvent};
use coracle_proto::record::{NodeState, Role};
use coracle_proto::status::{Code, Refusal};
use coracle_proto::trace;
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};

use super::span::{self, joined};
use crate::clock;
use crate::context::Context;
use crate::soft::copies;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Workers tried before the upload is refused.
const TRIED_MAX: usize = 8;

/// Connects to a worker and hands the stream on; answers with what the worker tells.
///
/// # Errors
/// `no-worker` when none can be reached, or the worker's refusal.
pub(super) async fn upload(
    context: &Context,
    metadata: MetadataMap,
    chunks: Streaming<UploadChunk>,
) -> Result<impl Stream<Item = Result<UploadEvent, Status>> + Send + use<>, Status> {
    let span = span::deploy("Upload");
    let events = joined(span.clone(), &metadata, put(context, &metadata, chunks)).await?;
    // The span ends with the stream.
    Ok(events
        .map(move |event| event.inspect_err(|status| trace::failed(&span, &Refusal::from_status(status)))))
}

async fn put(
    context: &Context,
    metadata: &MetadataMap,
    chunks: Streaming<UploadChunk>,
) -> Result<Streaming<UploadEvent>, Refusal> {
    let channel = connect(context).await?;
    // A broken upload ends without its last bytes: the worker finds that size and digest do not fit.
    let chunks = chunks.take_while(Result::is_ok).filter_map(Result::ok);
    let mut request = Request::new(chunks);
    // What the caller said, unless this process has spans of its own.
    for key in [trace::TRACEPARENT, trace::TRACESTATE] {
        if let Some(value) = metadata.get(key) {
            request.metadata_mut().insert(key, value.clone());
        }
    }
    trace::write_metadata(request.metadata_mut());
    let events = ArtifactsClient::new(channel).put(request).await;
    events.map(Response::into_inner).map_err(|status| Refusal::from_status(&status))
}

/// A worker that takes connections: this node's own first, then the others by what they have to do.
async fn connect(context: &Context) -> Result<Channel, Refusal> {
    let state = context.hub.state();
    let seen = context.soft.nodes();
    let copies = copies(&state, &seen, context.policy, clock::now());
    let mut workers: Vec<_> = state
        .nodes()
        .filter(|node| node.is(Role::Worker) && node.state == NodeState::Alive)
        .filter(|node| !node.addresses.data.is_empty())
        .collect();
    let load = |node| seen.get(node).and_then(|seen| seen.status.load).map_or(0, |load| load.in_flight);
    workers.sort_by_key(|node| {
        (!copies.live().contains_key(&node.id), node.id != context.node, load(&node.id), node.id)
    });
    for node in workers.iter().take(TRIED_MAX) {
        let Ok(endpoint) = Endpoint::from_shared(format!("http://{}", node.addresses.data)) else { continue };
        match endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect().await {
            Ok(channel) => {
                debug!(worker = %node.id, "upload");
                return Ok(channel);
            }
            Err(error) => warn!(worker = %node.id, %error, "a worker cannot take an upload"),
        }
    }
    Err(Refusal::new(Code::NoWorker, format!("none of {} workers takes the upload", workers.len())))
}
