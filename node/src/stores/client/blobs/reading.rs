//! A blob's content on its way out: chunk by chunk, from whoever has it. One who fails is passed over, and nobody notices.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::pb;
use coracle_proto::pb::chunks_client::ChunksClient;
use coracle_proto::status::{Code, Refusal};
use futures::stream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Streaming;
use tracing::Instrument as _;

use super::spans::{Span, Spans};
use crate::blobs::{Content, Pieces, UploadId};
use crate::stores::Stores;
use crate::stores::ask::traced;
use crate::stores::trouble::Trouble;
use crate::stores::wire::blob::upload_to_wire;
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

type Opening = AbortOnDropHandle<Result<Streaming<pb::ChunkData>, Trouble>>;

struct Reading {
    source: Source,
    spans: Spans,
    /// Members, whoever is asked next first.
    order: VecDeque<(NodeId, String)>,
    current: Option<(Span, Option<Streaming<pb::ChunkData>>)>,
    /// The chunk behind it, which is asked for while this one is read: what comes of it waits in its stream's window.
    next: Option<(Span, Opening)>,
    /// Members that were asked in a row without a byte.
    vain: usize,
}

impl Reading {
    /// The next bytes; none behind the last ones.
    async fn piece(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let Some((span, coming)) = self.current().await? else { return Ok(None) };
            let message = match tokio::time::timeout(SILENT_MAX, coming.message()).await {
                Ok(Ok(message)) => message,
                Ok(Err(status)) => {
                    self.pass_over(status.into()).await?;
                    continue;
                }
                Err(_) => {
                    self.pass_over(Trouble::Silent(SILENT_MAX)).await?;
                    continue;
                }
            };
            let piece = message.map(|it| it.data).unwrap_or_default();
            if piece.is_empty() || piece.len() as u64 > span.bytes {
                let said = format!("{} bytes came where {} were to", piece.len(), span.bytes);
                self.pass_over(Trouble::Broken(said)).await?;
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
    async fn current(&mut self) -> Result<Option<(&mut Span, &mut Streaming<pb::ChunkData>)>, Refusal> {
        if self.order.is_empty() {
            self.order = self.source.members()?;
        }
        if self.current.is_none() {
            let (span, opening) = match self.next.take() {
                Some(next) => next,
                None => match self.spans.next() {
                    Some(span) => (span, self.source.open(span, self.order.front())),
                    None => return Ok(None),
                },
            };
            self.current = Some((span, self.opened(opening).await?));
        }
        // What came without an answer is asked for once more, of the next one.
        while let Some((span, None)) = self.current {
            let opening = self.source.open(span, self.order.front());
            let opened = self.opened(opening).await?;
            self.current = Some((span, opened));
        }
        if self.next.is_none()
            && let Some(span) = self.spans.next()
        {
            self.next = Some((span, self.source.open(span, self.order.front())));
        }
        Ok(self.current.as_mut().and_then(|(span, coming)| Some((span, coming.as_mut()?))))
    }

    /// The stream, once it is there; none where whoever was asked is passed over.
    async fn opened(&mut self, opening: Opening) -> Result<Option<Streaming<pb::ChunkData>>, Refusal> {
        let trouble = match tokio::time::timeout(SILENT_MAX, opening).await {
            Ok(Ok(Ok(coming))) => return Ok(Some(coming)),
            Ok(Ok(Err(trouble))) => trouble,
            Ok(Err(gone)) => Trouble::Broken(gone.to_string()),
            Err(_) => Trouble::Silent(SILENT_MAX),
        };
        self.pass_over(trouble).await?;
        Ok(None)
    }

    /// Goes on with another member, from the byte that is next. Those that there are now are asked in rounds.
    async fn pass_over(&mut self, trouble: Trouble) -> Result<(), Refusal> {
        if let Some((_, coming)) = &mut self.current {
            *coming = None;
        }
        let failed = self.order.pop_front();
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

    /// Asks a member for bytes of a chunk.
    fn open(&self, span: Span, member: Option<&(NodeId, String)>) -> Opening {
        let address = member.map(|(_, address)| address.clone()).unwrap_or_default();
        let (source, threads) = (self.clone(), self.stores.inner.chunks.threads());
        let opening = async move { source.ask(span, &address).await };
        AbortOnDropHandle::new(threads.spawn(opening.in_current_span()))
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
