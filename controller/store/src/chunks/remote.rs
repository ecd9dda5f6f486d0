//! Fetches a chunk from another member of the group.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, NodeId};
use coracle_proto::pb::chunks_client::ChunksClient;
use coracle_proto::pb::{ChunkGetRequest, ChunkName as WireName};
use coracle_proto::status::{Code, Refusal};
use coracle_transport::{Dialer, Purpose};
use tonic::transport::Channel;
use tracing::debug;

use super::{ChunkError, ChunkName, GroupChunks};
use crate::clock;
use crate::replicas::Replica;

/// A chunk comes within that time, or from another member.
const FETCHED_WITHIN: Duration = Duration::from_secs(30);
/// Who did not answer as it should is left out for so long: one that is gone is not waited for at each chunk.
const LEFT_OUT: Duration = Duration::from_secs(5);

/// What came of asking for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It is here now.
    Here,
    /// No member has it: each of the voters has said so.
    Nowhere,
    /// No member that answered has it, and those are most of the voters.
    Doubtful,
    /// Who has it did not give it.
    Missing,
}

/// Why a member did not give it.
enum Trouble {
    /// It is this one that cannot take it: nobody else is to read for it.
    Own(ChunkError),
    Theirs(Refusal),
}

/// Connections to the other members.
pub(super) struct Peers {
    cluster: ClusterId,
    group: GroupId,
    kept: Mutex<BTreeMap<NodeId, (String, Channel)>>,
    /// Since when somebody is left out.
    silent: Mutex<BTreeMap<NodeId, Instant>>,
}

impl Peers {
    pub(super) fn new(cluster: ClusterId, group: GroupId) -> Self {
        Self { cluster, group, kept: Mutex::default(), silent: Mutex::default() }
    }

    /// Asks one after the other.
    ///
    /// # Errors
    /// Where this member cannot take it, whoever would give it.
    pub(super) async fn fetch(
        &self,
        (chunks, replica): (&GroupChunks, &Replica),
        (name, bytes): (ChunkName, u64),
    ) -> Result<Fetched, ChunkError> {
        let status = replica.status();
        let voters: Vec<NodeId> = status.voters.keys().copied().filter(|node| *node != status.node).collect();
        let all: BTreeMap<_, _> = status.voters.into_iter().chain(status.learners).collect();
        self.kept().retain(|node, _| all.contains_key(node));
        let asked = |node: &NodeId| *node != status.node && !self.is_left_out(*node);
        let others: BTreeMap<_, _> = all.iter().filter(|(node, _)| asked(node)).collect();
        // Not always the same one first, whether a blob has many chunks or one.
        let run = usize::try_from(name.run).unwrap_or(0);
        let first = run.wrapping_add(usize::try_from(name.number).unwrap_or(0)) % others.len().max(1);
        let mut without = 0;
        for (node, seat) in others.iter().cycle().skip(first).take(others.len()) {
            let fetched = self.fetch_from(chunks, (**node, &seat.address), (name, bytes));
            match tokio::time::timeout(FETCHED_WITHIN, fetched).await {
                Ok(Ok(())) => return Ok(Fetched::Here),
                Ok(Err(Trouble::Own(error))) => return Err(error),
                Ok(Err(Trouble::Theirs(refusal))) => {
                    debug!(group = %self.group, %node, ?name, %refusal, "a member does not give a chunk");
                    if refusal.code != Code::BlobNotFound {
                        self.leave_out(**node);
                    } else if voters.contains(*node) {
                        without += 1;
                    }
                }
                Err(_) => {
                    debug!(group = %self.group, %node, ?name, "a member does not give a chunk in time");
                    self.leave_out(**node);
                }
            }
        }
        Ok(match without {
            all if all == voters.len() => Fetched::Nowhere,
            most if most > voters.len() / 2 => Fetched::Doubtful,
            _ => Fetched::Missing,
        })
    }

    async fn fetch_from(
        &self,
        chunks: &GroupChunks,
        (node, address): (NodeId, &str),
        (name, bytes): (ChunkName, u64),
    ) -> Result<(), Trouble> {
        let wire = WireName {
            cluster_id: self.cluster.to_wire(),
            group: self.group.get(),
            upload: Bytes::copy_from_slice(&name.upload.to_bytes()),
            run: name.run,
            number: name.number,
        };
        let asked = ChunkGetRequest { name: Some(wire), offset: 0, bytes: 0 };
        let mut client = ChunksClient::new(self.channel(node, address).map_err(Trouble::Theirs)?);
        let read = |status: tonic::Status| Trouble::Theirs(Refusal::from_status(&status));
        // Before anybody reads all of it for one who has no room.
        let mut receiving = chunks.write_fetched(name).await?;
        let mut pieces = client.get(asked).await.map_err(read)?.into_inner();
        let mut digest = Bytes::new();
        while let Some(piece) = pieces.message().await.map_err(read)? {
            if !piece.digest.is_empty() {
                digest = piece.digest;
            }
            receiving.write(piece.data).await?;
        }
        if receiving.bytes() != bytes {
            let sentence = format!("it gave {} bytes of {bytes}", receiving.bytes());
            return Err(Trouble::Theirs(Refusal::new(Code::Internal, sentence)));
        }
        // One of before says none.
        receiving.finish((!digest.is_empty()).then_some(&digest[..])).await?;
        Ok(())
    }

    fn channel(&self, node: NodeId, address: &str) -> Result<Channel, Refusal> {
        let mut kept = self.kept();
        if let Some((_, channel)) = kept.get(&node).filter(|(at, _)| at == address) {
            return Ok(channel.clone());
        }
        let new = Dialer::new(Purpose::Chunks).connect_lazily(address);
        let new = new.map_err(|error| Refusal::new(Code::Internal, format!("{address}: {error}")))?;
        kept.insert(node, (address.to_owned(), new.clone()));
        Ok(new)
    }

    fn leave_out(&self, node: NodeId) {
        self.kept().remove(&node);
        self.silent().insert(node, clock::now());
    }

    fn is_left_out(&self, node: NodeId) -> bool {
        let since = self.silent().get(&node).copied();
        since.is_some_and(|since| clock::now().saturating_duration_since(since) < LEFT_OUT)
    }

    fn silent(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<NodeId, (String, Channel)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ChunkError> for Trouble {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::TooLong { .. } | ChunkError::OtherDigest => Self::Theirs(error.into()),
            _ => Self::Own(error),
        }
    }
}
