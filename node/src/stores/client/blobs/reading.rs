//! A blob's content on its way out: chunk by chunk, from whoever has it. One who fails is passed over, and nobody notices.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::pb;
use coracle_proto::pb::chunks_client::ChunksClient;
use coracle_proto::status::{Code, Refusal};
use futures::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;
use tracing::Instrument as _;

use super::spans::{Span, Spans};
use crate::blobs::{Content, Pieces, UploadId};
use crate::stores::ask::traced;
use crate::stores::trouble::Trouble;
use crate::stores::wire::blob::upload_to_wire;
use crate::stores::{READS_MAX, Stores};
use crate::values::Bucket;

/// What is handed on at once, and what a store may send at once, with its frame.
const PIECE_BYTES_MAX: usize = 256 << 10;
const MESSAGE_BYTES_MAX: usize = PIECE_BYTES_MAX + (1 << 10);
/// A store that sends nothing for so long while it is waited for is passed over. It reads a whole chunk before it sends any of it.
const SILENT_MAX: Duration = Duration::from_secs(3);
/// After all members were asked in vain, before they are asked once more.
const PAUSE: Duration = Duration::from_millis(200);
/// So often are all of them asked without a byte more.
const ROUNDS: usize = 3;

/// A range of a blob's bytes.
pub(super) fn pieces(stores: &Stores, bucket: &Bucket, content: &Content, range: Range<u64>) -> Pieces {
    let (upload, parts) = match content {
        Content::Inline(data) => return inline(data, range),
        Content::Parts { upload, parts } => (*upload, parts.clone()),
    };
    let reading = stores.group_of(&bucket.namespace).map(|group| Reading {
        source: Source { stores: stores.clone(), group, upload },
        spans: Spans::new(parts, range),
        order: VecDeque::new(),
        place: None,
        current: None,
        next: None,
        vain: 0,
    });
    match reading {
        Ok(reading) => Box::pin(stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.piece().await?.map(|piece| (piece, reading)))
        })),
        Err(refusal) => Box::pin(stream::iter([Err(refusal)])),
    }
}

fn inline(data: &Bytes, range: Range<u64>) -> Pieces {
    let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(data.len());
    let begin = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
    let piece = data.slice(begin..end);
    Box::pin(stream::iter((!piece.is_empty()).then_some(Ok(piece))))
}

/// Where chunks are asked for.
#[derive(Debug, Clone)]
struct Source {
    stores: Stores,
    group: GroupId,
    upload: UploadId,
}

/// What a member was asked for.
struct Asked {
    node: Option<NodeId>,
    opening: AbortOnDropHandle<Result<Streaming<pb::ChunkData>, Trouble>>,
}

/// What comes from it.
struct Coming {
    node: Option<NodeId>,
    stream: Streaming<pb::ChunkData>,
}

struct Reading {
    source: Source,
    spans: Spans,
    /// Members, whoever is asked next first.
    order: VecDeque<(NodeId, String)>,
    /// For one stream, from the first one on.
    place: Option<OwnedSemaphorePermit>,
    current: Option<(Span, Option<Coming>)>,
    /// The chunk behind it, which is asked for while this one is read, if there is a place: what comes of it waits in its stream's
    /// window.
    next: Option<(Span, Option<(Asked, OwnedSemaphorePermit)>)>,
    /// Members that were asked in a row without a byte.
    vain: usize,
}

impl Reading {
    /// The next bytes; none behind the last ones.
    async fn piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let Some((span, coming)) = self.current().await? else { return Ok(None) };
            let node = coming.node;
            let message = match tokio::time::timeout(SILENT_MAX, coming.stream.message()).await {
                Ok(Ok(message)) => message,
                Ok(Err(status)) => {
                    self.pass_over(node, status.into()).await?;
                    continue;
                }
                Err(_) => {
                    self.pass_over(node, Trouble::Silent(SILENT_MAX)).await?;
                    continue;
                }
            };
            let piece = message.map(|it| it.data).unwrap_or_default();
            if piece.is_empty() || piece.len() as u64 > span.bytes {
                let said = format!("{} bytes came where {} were to", piece.len(), span.bytes);
                self.pass_over(node, Trouble::Broken(said)).await?;
                continue;
            }
            span.offset += piece.len() as u64;
            span.bytes -= piece.len() as u64;
            if span.bytes == 0 {
                self.current = None;
            }
            self.vain = 0;
            return Ok(Some(piece));
        }
    }

    /// What is being read, opened; none: all of it was.
    async fn current(&mut self) -> Result<Option<(&mut Span, &mut Coming)>, Refusal> {
        if self.order.is_empty() {
            self.order = self.source.members()?;
        }
        if self.current.is_none() {
            let Some((span, ahead)) = self.next.take().or_else(|| Some((self.spans.next()?, None))) else {
                return Ok(None);
            };
            if self.place.is_none() {
                self.place = Some(self.source.place()?);
            }
            let coming = match ahead {
                Some((asked, _place)) => self.opened(asked).await?,
                None => None,
            };
            self.current = Some((span, coming));
        }
        // What came without an answer is asked for once more, of the next one.
        while let Some((span, None)) = self.current {
            let asked = self.source.open(span, self.order.front());
            let opened = self.opened(asked).await?;
            self.current = Some((span, opened));
        }
        if self.next.is_none() {
            self.next = self.spans.next().map(|span| (span, None));
        }
        if let Some((span, ahead @ None)) = &mut self.next {
            let asked = |place| (self.source.open(*span, self.order.front()), place);
            *ahead = self.source.spare().map(asked);
        }
        Ok(self.current.as_mut().and_then(|(span, coming)| Some((span, coming.as_mut()?))))
    }

    /// The stream, once it is there; none where whoever was asked is passed over.
    async fn opened(&mut self, asked: Asked) -> Result<Option<Coming>, Refusal> {
        let Asked { node, opening } = asked;
        let trouble = match tokio::time::timeout(SILENT_MAX, opening).await {
            Ok(Ok(Ok(stream))) => return Ok(Some(Coming { node, stream })),
            Ok(Ok(Err(trouble))) => trouble,
            Ok(Err(gone)) => Trouble::Broken(gone.to_string()),
            Err(_) => Trouble::Silent(SILENT_MAX),
        };
        self.pass_over(node, trouble).await?;
        Ok(None)
    }

    /// Goes on with another member than this, from the byte that is next. Those that there are now are asked in rounds.
    async fn pass_over(&mut self, node: Option<NodeId>, trouble: Trouble) -> Result<(), Refusal> {
        if let Some((_, coming)) = &mut self.current {
            *coming = None;
        }
        // What it was asked for ahead is asked of another one.
        if let Some((_, ahead)) = &mut self.next
            && ahead.as_ref().is_some_and(|(asked, _)| asked.node == node)
        {
            *ahead = None;
        }
        let at = self.order.iter().position(|(it, _)| Some(*it) == node);
        let failed = at.and_then(|at| self.order.remove(at));
        let node = failed.as_ref().map_or(0, |(node, _)| node.get());
        tracing::debug!(node, ?trouble, "a store is passed over: another one has the chunk");
        self.order.extend(failed);
        self.vain += 1;
        let members = self.order.len().max(1);
        if self.vain >= ROUNDS * members {
            let refusal = trouble.into_refusal();
            let said =
                format!("no store of the data group gives the blob's next bytes; the last one: {refusal}");
            return Err(Refusal::new(Code::NoQuorum, said));
        }
        if self.vain.is_multiple_of(members) {
            tokio::time::sleep(PAUSE).await;
            self.order = self.source.members()?;
        }
        Ok(())
    }
}

impl Source {
    /// The member on this node first, the others as it happens: so they share the work.
    fn members(&self) -> Result<VecDeque<(NodeId, String)>, Refusal> {
        let (_, mut members) = self.stores.seats(self.group)?;
        if members.is_empty() {
            return Err(Refusal::new(Code::NoQuorum, "no store of the data group is known"));
        }
        let begin = rand::random_range(0..members.len());
        members.rotate_left(begin);
        members.sort_by_key(|(node, _)| Some(*node) != self.stores.inner.here);
        Ok(members.into())
    }

    /// For a stream of one who reads.
    fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let none = |_| {
            let said = format!("{READS_MAX} chunks of blobs are being read here at once, and no more can be");
            Refusal::new(Code::Overloaded, said)
        };
        Arc::clone(&self.stores.inner.reads).try_acquire_owned().map_err(none)
    }

    /// For one more stream of the same one, while half of the places are free: they are for those who have none.
    fn spare(&self) -> Option<OwnedSemaphorePermit> {
        let reads = &self.stores.inner.reads;
        (reads.available_permits() > READS_MAX / 2).then(|| Arc::clone(reads).try_acquire_owned().ok())?
    }

    /// Asks a member for bytes of a chunk.
    fn open(&self, span: Span, member: Option<&(NodeId, String)>) -> Asked {
        let (node, address) = member.map(|(node, address)| (*node, address.clone())).unzip();
        let (source, threads) = (self.clone(), self.stores.inner.chunks.threads());
        let opening = async move { source.ask(span, &address.unwrap_or_default()).await };
        Asked { node, opening: AbortOnDropHandle::new(threads.spawn(opening.in_current_span())) }
    }

    async fn ask(&self, span: Span, address: &str) -> Result<Streaming<pb::ChunkData>, Trouble> {
        let inner = &self.stores.inner;
        let channel = inner.chunks.to(address).map_err(|error| Trouble::Broken(error.to_string()))?;
        let name = pb::ChunkName {
            cluster_id: inner.cluster.to_wire(),
            group: self.group.get(),
            upload: upload_to_wire(self.upload),
            run: span.run,
            number: span.number,
        };
        let (offset, bytes) = (small(span.offset), small(span.bytes));
        let request = traced(pb::ChunkGetRequest { name: Some(name), offset, bytes });
        let mut client = ChunksClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(client.get(request).await?.into_inner())
    }
}

/// Within a chunk.
fn small(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
