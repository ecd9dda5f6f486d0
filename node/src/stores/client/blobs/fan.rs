//! The content of one part on its way to all members of its group: cut into pieces and chunks, one chunk synced while the next
//! one is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use coracle_proto::id::{GroupId, NodeId};
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::chunk::{Acks, Chunk, Seat};
use crate::blobs::CHUNK_BYTES;
use crate::clock;
use crate::stores::Stores;

/// What is sent at once.
pub(super) const PIECE_BYTES: usize = 64 << 10;
const _: () = assert!(CHUNK_BYTES.is_multiple_of(PIECE_BYTES as u64));
/// A piece that is not full leaves with the first byte that comes so long after its own first one.
const PIECE_MAX: Duration = Duration::from_secs(10);
/// All of a chunk has come within this, 1.4 kB/s: a store ends one after an hour.
const CHUNK_MAX: Duration = Duration::from_secs(50 * 60);
/// A member that was left out of a chunk is not asked for so long, as long as the others are a majority.
const REST: Duration = Duration::from_secs(30);
/// Chunks of one upload that one member has not answered at once: who is late with one has the next one, and no more.
const CHUNKS_MAX: usize = 2;
/// For a place for one more where no majority has one: a store may let a chunk wait for 10 s.
const PLACE_MAX: Duration = Duration::from_secs(15);

/// The way of a part's content.
#[derive(Debug)]
pub(super) struct Fan {
    stores: Stores,
    group: GroupId,
    /// Of the chunk that is next, or being sent.
    name: pb::ChunkName,
    chunk: Option<Chunk>,
    /// Bytes of it that were taken in, and their digest.
    bytes: u64,
    digest: Sha256,
    piece: BytesMut,
    /// When the first byte of the chunk came, and that of the piece.
    begun: Instant,
    gathered: Instant,
    /// The chunk before it, and its size.
    settling: Option<(Acks, u64)>,
    members: BTreeMap<NodeId, Member>,
}

/// How a member does.
#[derive(Debug)]
struct Member {
    places: Arc<Semaphore>,
    rests: Option<Instant>,
}

impl Fan {
    /// Of a part of an upload, which is sent in this run.
    pub(super) fn new(stores: Stores, group: GroupId, upload: Bytes, run: u64) -> Self {
        let cluster_id = stores.inner.cluster.to_wire();
        let name = pb::ChunkName { cluster_id, group: group.get(), upload, run, number: 0 };
        let piece = BytesMut::with_capacity(PIECE_BYTES);
        let (digest, members, now) = (Sha256::new(), BTreeMap::new(), clock::now());
        let (begun, gathered) = (now, now);
        Self {
            stores,
            group,
            name,
            chunk: None,
            bytes: 0,
            digest,
            piece,
            begun,
            gathered,
            settling: None,
            members,
        }
    }

    /// More of it.
    pub(super) async fn write(&mut self, mut data: &[u8]) -> Result<(), Refusal> {
        while !data.is_empty() {
            let now = clock::now();
            if self.bytes == 0 {
                self.begun = now;
            }
            in_time(self.begun, now)?;
            // A piece leaves when more comes: so the last one is known for it, and is never empty.
            if leaves(self.piece.len(), self.gathered, now) {
                self.send(Bytes::new()).await?;
            }
            if self.piece.is_empty() {
                self.gathered = now;
            }
            let (now, later) = data.split_at(data.len().min(PIECE_BYTES - self.piece.len()));
            self.piece.extend_from_slice(now);
            self.digest.update(now);
            self.bytes += now.len() as u64;
            data = later;
            if self.bytes == CHUNK_BYTES {
                self.close().await?;
            }
        }
        Ok(())
    }

    /// All of it has come: a majority has synced it when this answers.
    pub(super) async fn finish(&mut self) -> Result<(), Refusal> {
        if self.bytes > 0 {
            self.close().await?;
        }
        self.settle().await
    }

    /// Sends what was gathered, with the digest of the whole chunk where it is the last of it.
    async fn send(&mut self, digest: Bytes) -> Result<(), Refusal> {
        let first = self.chunk.is_none();
        let mut chunk = match self.chunk.take() {
            Some(chunk) => chunk,
            None => self.begin().await?,
        };
        let name = first.then(|| self.name.clone());
        let data = self.piece.split().freeze();
        let left_out = chunk.send(pb::ChunkPiece { name, data, digest }).await?;
        self.chunk = Some(chunk);
        let until = clock::now() + REST;
        for node in left_out {
            tracing::debug!(group = %self.group, %node, "a store is left out of a chunk: others keep it for now");
            if let Some(member) = self.members.get_mut(&node) {
                member.rests = Some(until);
            }
        }
        Ok(())
    }

    /// The chunk ends here. The one before it has to be kept first.
    async fn close(&mut self) -> Result<(), Refusal> {
        let digest = std::mem::take(&mut self.digest).finalize();
        self.send(Bytes::copy_from_slice(&digest)).await?;
        self.settle().await?;
        let bytes = std::mem::take(&mut self.bytes);
        self.settling = self.chunk.take().map(|chunk| (chunk.sent(), bytes));
        self.name.number += 1;
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Refusal> {
        match self.settling.take() {
            Some((acks, bytes)) => acks.kept(bytes).await,
            None => Ok(()),
        }
    }

    /// The next chunk, to all members who do well; where these are no majority, to all.
    async fn begin(&mut self) -> Result<Chunk, Refusal> {
        let (count, known) = self.stores.seats(self.group)?;
        let now = clock::now();
        let mut seats = Vec::new();
        for (node, address) in &known {
            let member = self.members.entry(*node).or_insert_with(Member::new);
            let well = member.rests.is_none_or(|until| until <= now);
            if well && let Ok(permit) = Arc::clone(&member.places).try_acquire_owned() {
                seats.push(Seat { node: *node, address: address.clone(), permit });
            }
        }
        if seats.len() <= count / 2 {
            // Who has a place already must not wait for another one.
            drop(seats);
            seats = self.all(known).await;
        }
        if seats.len() <= count / 2 {
            let said = format!("{} of the data group's {count} stores can be sent a chunk", seats.len());
            return Err(Refusal::new(Code::NoQuorum, said));
        }
        Ok(Chunk::begin(&self.stores, seats, count))
    }

    /// All members, each when it has a place.
    async fn all(&mut self, known: Vec<(NodeId, String)>) -> Vec<Seat> {
        let by = clock::now() + PLACE_MAX;
        let seats = known.into_iter().map(|(node, address)| {
            let places = self.members.get(&node).map(|member| Arc::clone(&member.places));
            async move {
                let permit = tokio::time::timeout_at(by.into(), places?.acquire_owned()).await.ok()?.ok()?;
                Some(Seat { node, address, permit })
            }
        });
        futures::future::join_all(seats).await.into_iter().flatten().collect()
    }
}

/// Whether a piece of so many bytes, of which the first one came then, leaves before more is added to it.
fn leaves(bytes: usize, gathered: Instant, now: Instant) -> bool {
    bytes == PIECE_BYTES || (bytes > 0 && now.saturating_duration_since(gathered) >= PIECE_MAX)
}

/// Refuses a sender that is too slow for the stores, in words that say so.
fn in_time(begun: Instant, now: Instant) -> Result<(), Refusal> {
    if now.saturating_duration_since(begun) < CHUNK_MAX {
        return Ok(());
    }
    let said = format!(
        "less than {CHUNK_BYTES} bytes have come in {} minutes, which is too slow to be kept; nothing was kept",
        CHUNK_MAX.as_secs() / 60
    );
    Err(Refusal::new(Code::RequestTimeout, said))
}

impl Member {
    fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(CHUNKS_MAX)), rests: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_slowly_is_sent_on_slowly_and_too_slowly_is_told() {
        let begun = clock::now();
        assert!(!leaves(0, begun, begun + PIECE_MAX), "an empty piece says nothing");
        assert!(!leaves(1, begun, begun + PIECE_MAX / 2) && leaves(1, begun, begun + PIECE_MAX));
        assert!(!leaves(PIECE_BYTES - 1, begun, begun) && leaves(PIECE_BYTES, begun, begun));
        // A piece in each 10 s, for a whole chunk.
        assert!(in_time(begun, begun + CHUNK_MAX / 2).is_ok());
        let late = in_time(begun, begun + CHUNK_MAX).unwrap_err();
        assert!(late.code == Code::RequestTimeout && late.message.contains("4194304 bytes"), "{late}");
    }
}
