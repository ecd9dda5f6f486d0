//! One chunk on its way to all members of its group: kept when a majority says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_proto::id::NodeId;
use coracle_proto::pb;
use coracle_proto::pb::chunks_client::ChunksClient;
use coracle_proto::status::{Code, Refusal};
use coracle_transport::calls::BODY_WINDOW_BYTES;
use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered, Stream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tracing::Instrument as _;

use super::fan::PIECE_BYTES;
use crate::clock;
use crate::stores::Stores;
use crate::stores::ask::traced;
use crate::stores::trouble::{Trouble, Verdict};

/// Pieces of 64 KiB that wait for one member: half a mebibyte, which the members share as far as they wait for the same.
const WAITING_MAX: usize = 8;
/// Pieces that a lane keeps to send them again: more than leave for a store that reads none of them.
const SENT_MAX: usize = BODY_WINDOW_BYTES as usize / PIECE_BYTES + 4;
/// Members that are slower than a majority are waited for so long in all of a chunk, and are left out of the rest of it.
const LAG_MAX: Duration = Duration::from_secs(2);
/// Where none can be left out they are waited for so long with each piece. A store may let a chunk wait for 10 s.
const STALL_MAX: Duration = Duration::from_secs(15);
/// A majority has synced it within this once all of it was sent.
const KEPT_MAX: Duration = Duration::from_secs(15);
/// What had no place is sent once more after this.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Whoever sends may rest in the middle of a chunk: then each member hears this often that it goes on.
const HEARD_EVERY: Duration = Duration::from_secs(10);
/// Why a member takes nothing is known so soon after it was noticed.
const WHY_MAX: Duration = Duration::from_millis(500);

/// A chunk that is being sent.
#[derive(Debug)]
pub(super) struct Chunk {
    lanes: Vec<Lane>,
    acks: Acks,
    /// For members that are slower than a majority.
    patience: Duration,
}

/// The way to one member.
#[derive(Debug)]
struct Lane {
    node: NodeId,
    pieces: mpsc::Sender<pb::ChunkPiece>,
    task: AbortHandle,
}

/// A member to whom a chunk is sent, and the right to do so.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) node: NodeId,
    pub(super) address: String,
    pub(super) permit: OwnedSemaphorePermit,
}

/// What members say of a chunk.
#[derive(Debug)]
pub(super) struct Acks {
    tasks: JoinSet<(NodeId, Result<u64, Trouble>)>,
    members: usize,
    kept: usize,
    troubles: Vec<(NodeId, Trouble)>,
}

impl Chunk {
    /// Begins to send to these, of so many members.
    pub(super) fn begin(stores: &Stores, seats: Vec<Seat>, members: usize) -> Self {
        let mut acks = Acks { tasks: JoinSet::new(), members, kept: 0, troubles: Vec::new() };
        let lane = |Seat { node, address, permit }| {
            let (pieces, waiting) = mpsc::channel(WAITING_MAX);
            let (own, threads) = (stores.clone(), stores.inner.puts.threads());
            let put = async move {
                let _permit = permit;
                (node, put(&own, &address, waiting).await)
            };
            let task = acks.tasks.spawn_on(put.in_current_span(), threads);
            Lane { node, pieces, task }
        };
        let lanes = seats.into_iter().map(lane).collect();
        Self { lanes, acks, patience: LAG_MAX }
    }

    /// Hands a piece to all who go on. Gives those that do not, of which the chunk has no need.
    ///
    /// # Errors
    /// No majority goes on.
    pub(super) async fn send(&mut self, piece: pb::ChunkPiece) -> Result<Vec<NodeId>, Refusal> {
        let majority = self.acks.majority();
        let mut late: Vec<_> = self.lanes.iter().map(|lane| (lane.node, lane.task.clone())).collect();
        let mut handing: FuturesUnordered<_> =
            self.lanes.drain(..).map(|lane| lane.hand(piece.clone())).collect();
        let (stalled, mut enough, mut left_out) = (clock::now() + STALL_MAX, None::<Instant>, Vec::new());
        loop {
            if self.lanes.len() >= majority {
                enough.get_or_insert_with(clock::now);
            }
            let by = enough.map_or(stalled, |since| since + self.patience);
            match tokio::time::timeout_at(by.into(), handing.next()).await {
                Ok(Some((lane, taken))) => {
                    late.retain(|(node, _)| *node != lane.node);
                    if taken {
                        self.lanes.push(lane);
                    } else {
                        left_out.push(lane.node);
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
        drop(handing);
        if let Some(since) = enough {
            let waited = clock::now().saturating_duration_since(since);
            self.patience = self.patience.saturating_sub(waited);
        }
        for (node, task) in late {
            // Its stream is reset: what it has is no chunk.
            task.abort();
            left_out.push(node);
        }
        if self.lanes.len() < majority {
            return Err(self.acks.in_vain().await);
        }
        Ok(left_out)
    }

    /// All of it was sent.
    pub(super) fn sent(self) -> Acks {
        self.acks
    }
}

impl Lane {
    /// Gives whether it goes on.
    async fn hand(self, piece: pb::ChunkPiece) -> (Self, bool) {
        let taken = self.pieces.send(piece).await.is_ok();
        (self, taken)
    }
}

impl Acks {
    const fn majority(&self) -> usize {
        self.members / 2 + 1
    }

    /// Waits until a majority has synced the chunk, of so many bytes. The others have a little longer.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn kept(mut self, bytes: u64) -> Result<(), Refusal> {
        let by = clock::now() + KEPT_MAX;
        while self.kept < self.majority() {
            match tokio::time::timeout_at(by.into(), self.tasks.join_next()).await {
                Ok(Some(told)) => self.told(told, Some(bytes)),
                Ok(None) | Err(_) => return Err(self.refusal()),
            }
        }
        if !self.tasks.is_empty() {
            // Whoever is late keeps nothing of the sender: dropped, what is left of its stream is reset.
            tokio::spawn(tokio::time::timeout(LAG_MAX, async move {
                while self.tasks.join_next().await.is_some() {}
            }));
        }
        Ok(())
    }

    fn told(&mut self, told: Result<(NodeId, Result<u64, Trouble>), JoinError>, bytes: Option<u64>) {
        match told {
            Ok((_, Ok(kept))) if bytes == Some(kept) => self.kept += 1,
            Ok((node, Ok(kept))) => {
                let said = format!("it answered before all of the chunk had come, with {kept} bytes");
                self.troubles.push((node, Trouble::Broken(said)));
            }
            Ok((node, Err(trouble))) => self.troubles.push((node, trouble)),
            // It was left out, or its task is gone with this process.
            Err(_) => {}
        }
    }

    /// Why no majority goes on, as far as that is known soon.
    async fn in_vain(&mut self) -> Refusal {
        let by = clock::now() + WHY_MAX;
        while self.troubles.len() <= self.members - self.majority() {
            match tokio::time::timeout_at(by.into(), self.tasks.join_next()).await {
                Ok(Some(told)) => self.told(told, None),
                Ok(None) | Err(_) => break,
            }
        }
        self.refusal()
    }

    fn refusal(&mut self) -> Refusal {
        let whole = |(_, trouble): &&(NodeId, Trouble)| trouble.verdict() == Verdict::Final;
        if let Some((_, trouble)) = self.troubles.iter().find(whole) {
            return trouble.clone().into_refusal();
        }
        let mut said = format!(
            "a chunk is kept by {} of the data group's {} stores, and {} are needed",
            self.kept,
            self.members,
            self.majority()
        );
        for (node, trouble) in self.troubles.drain(..) {
            said.push_str(&format!("; node {node}: {}", trouble.into_refusal()));
        }
        Refusal::new(Code::NoQuorum, said)
    }
}

/// What one member is sent.
#[derive(Debug)]
struct Line {
    pieces: mpsc::Receiver<pb::ChunkPiece>,
    /// All that it was sent, as long as that is little.
    sent: Option<Vec<pb::ChunkPiece>>,
    /// What it is sent first, the last one of it first.
    again: Vec<pb::ChunkPiece>,
}

impl Line {
    fn new(pieces: mpsc::Receiver<pb::ChunkPiece>) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { pieces, sent: Some(Vec::new()), again: Vec::new() }))
    }

    /// The next piece; a caller that does not wait for it loses none.
    async fn next(&mut self) -> Option<pb::ChunkPiece> {
        let piece = match self.again.pop() {
            Some(piece) => return Some(piece),
            None => self.pieces.recv().await?,
        };
        self.sent = self.sent.take().filter(|sent| sent.len() < SENT_MAX);
        if let Some(sent) = &mut self.sent {
            sent.push(piece.clone());
        }
        Some(piece)
    }

    /// Begins anew, once, if all of it is still here.
    fn rewind(&mut self) -> bool {
        let Some(sent) = self.sent.take() else { return false };
        self.again = sent;
        self.again.reverse();
        true
    }
}

/// Puts a chunk to one member: gives how many bytes it has synced. Who had no place for it is asked once more, as long as all
/// that it was sent is still here.
async fn put(stores: &Stores, address: &str, pieces: mpsc::Receiver<pb::ChunkPiece>) -> Result<u64, Trouble> {
    let channel = stores.inner.puts.to(address).map_err(|error| Trouble::Broken(error.to_string()))?;
    let line = Line::new(pieces);
    let ask = async || -> Result<u64, Trouble> {
        let pieces = heard(Arc::clone(&line), HEARD_EVERY);
        Ok(ChunksClient::new(channel.clone()).put(traced(pieces)).await?.into_inner().bytes)
    };
    let trouble = match ask().await {
        Err(Trouble::Refused(refusal)) if refusal.code == Code::Overloaded => Trouble::Refused(refusal),
        told => return told,
    };
    tokio::time::sleep(AGAIN_AFTER).await;
    // The stream that was refused lets go of it, as soon as it is reset.
    let again = tokio::time::timeout(WHY_MAX, line.lock()).await.is_ok_and(|mut line| line.rewind());
    if again { ask().await } else { Err(trouble) }
}

/// The pieces as they come, and empty ones while none do.
fn heard(line: Arc<Mutex<Line>>, every: Duration) -> impl Stream<Item = pb::ChunkPiece> + Send + 'static {
    stream::unfold(line, move |line| async move {
        let mut waiting = Arc::clone(&line).lock_owned().await;
        match tokio::time::timeout(every, waiting.next()).await {
            Ok(piece) => piece.map(|piece| (piece, line)),
            Err(_) => Some((pb::ChunkPiece::default(), line)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_member_hears_of_a_sender_that_rests() {
        let (sender, pieces) = mpsc::channel(1);
        let mut heard = Box::pin(heard(Line::new(pieces), Duration::from_millis(20)));
        let piece = pb::ChunkPiece { data: "x".into(), ..Default::default() };
        sender.send(piece.clone()).await.unwrap();
        assert_eq!(heard.next().await, Some(piece.clone()));
        assert_eq!(heard.next().await, Some(pb::ChunkPiece::default()), "nothing came for a while");
        sender.send(piece.clone()).await.unwrap();
        drop(sender);
        assert_eq!(heard.next().await, Some(piece));
        assert_eq!(heard.next().await, None, "and that it has ended");
    }
}
