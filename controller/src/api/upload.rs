//! Passes an upload on to a data plane, chunk by chunk: nothing of it is stored here. Whoever leaves ends both halves, and
//! so does a data plane that falls silent: one that has not begun is not chosen, one that has ends the upload.

use std::time::Duration;

use coracle_proto::id::NodeId;
use coracle_proto::pb::artifacts_client::ArtifactsClient;
use coracle_proto::pb::{StatRequest, UploadChunk, UploadEvent};
use coracle_proto::record::{NodeState, Role};
use coracle_proto::status::{CODE_METADATA, Code, Refusal};
use coracle_proto::trace;
use coracle_transport::{Dialer, Purpose};
use futures::future::join_all;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};

use super::span::{self, joined};
use crate::clock;
use crate::context::Context;
use crate::soft::copies;

/// A stopped process still takes connections: only one that answers a small question by then is given an upload.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
// Whoever does not even connect by then is as silent, and noted as that.
const _: () = assert!(ANSWER_TIMEOUT.as_millis() < Purpose::Upload.connect_max().as_millis());
/// So long workers are asked how much they have to compile: who does not answer by then has enough to do.
const WORK_TIMEOUT: Duration = Duration::from_millis(250);
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
) -> Result<impl Stream<Item = Result<UploadEvent, Status>> + Send + use<>, Refusal> {
    let (worker, channel) = connect(context).await?;
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
    let events = ArtifactsClient::new(channel).put(request).await.map(Response::into_inner);
    let events = events.map_err(|status| broken(worker, &status))?;
    Ok(events.map(move |event| event.map_err(|status| broken(worker, &status).into())))
}

/// What a worker refuses has a code; without one it is the connection to it that broke.
fn broken(worker: NodeId, status: &Status) -> Refusal {
    if status.metadata().contains_key(CODE_METADATA) {
        return Refusal::from_status(status);
    }
    let sentence = format!("node {worker} fell silent while it took the upload: upload it again");
    Refusal::new(Code::NoWorker, sentence)
}

/// A worker that answers: the one with the least to compile; of equals this node's own, then the others by their calls.
async fn connect(context: &Context) -> Result<(NodeId, Channel), Refusal> {
    let (state, now) = (context.hub.state(), clock::now());
    let seen = context.soft.nodes();
    let copies = copies(&state, &seen, context.policy, now);
    let mut workers: Vec<_> = state
        .nodes()
        .filter(|node| node.is(Role::Worker) && node.state == NodeState::Alive)
        .filter(|node| !node.addresses.data.is_empty())
        .collect();
    let load = |node| seen.get(node).and_then(|seen| seen.status.load).map_or(0, |load| load.in_flight);
    workers.sort_by_key(|node| {
        let silent = context.silent.lately(node.id, now) || !copies.live().contains_key(&node.id);
        (silent, node.id != context.node, load(&node.id), node.id)
    });
    workers.truncate(TRIED_MAX);
    let work = join_all(workers.iter().map(|node| compile_bytes(context, &node.addresses.data))).await;
    let mut order: Vec<_> = workers.iter().zip(work).collect();
    // Stable, so that the order stays among equals. One that is silent stays last, whatever it has to do.
    order.sort_by_key(|(node, work)| (context.silent.lately(node.id, now), *work));
    for (node, _) in order {
        match timeout(ANSWER_TIMEOUT, answers(&node.addresses.data)).await {
            Ok(Ok(channel)) => {
                debug!(worker = %node.id, "upload");
                return Ok((node.id, channel));
            }
            Ok(Err(error)) => warn!(worker = %node.id, %error, "a worker cannot take an upload"),
            Err(_) => {
                context.silent.note(node.id, clock::now());
                warn!(worker = %node.id, "a worker is silent: another one takes the upload");
            }
        }
    }
    Err(Refusal::new(Code::NoWorker, format!("none of {} workers takes the upload", workers.len())))
}

/// Bytes that a worker has to compile before anything else; the most for one that does not say.
async fn compile_bytes(context: &Context, address: &str) -> u64 {
    let Ok(channel) = context.peers.channel(address) else { return u64::MAX };
    let mut client = ArtifactsClient::new(channel);
    match timeout(WORK_TIMEOUT, client.stat(StatRequest::default())).await {
        Ok(Ok(reply)) => reply.into_inner().compile_bytes,
        // A program that was before this question has an answer too, and says nothing of what it has to do.
        Ok(Err(status)) if status.metadata().contains_key(CODE_METADATA) => 0,
        Ok(Err(_)) | Err(_) => u64::MAX,
    }
}

/// A connection to a worker that has answered: it is asked what it has to do, and to refuse that is an answer too.
async fn answers(address: &str) -> Result<Channel, tonic::transport::Error> {
    let channel = Dialer::new(Purpose::Upload).connect(address).await?;
    let request = StatRequest::default();
    let _ = ArtifactsClient::new(channel.clone()).stat(request).await;
    Ok(channel)
}
