//! Heartbeats of all groups that two hosts share, in one message: without that their cost grows with the groups.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_proto::codec::DecodeError;
use coracle_proto::id::NodeId;
use coracle_proto::pb::raft as pb;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status};

use super::channels::{Channels, Lane};

/// Beats of different groups are gathered for so long: a fifth of the shortest interval. Those of a host with one group
/// go at once.
const GATHER: Duration = Duration::from_millis(20);

/// Beats that wait for one peer: each group has one under way.
const WAITING_MAX: usize = 4_096;

/// A beat, and who waits so long for its answer.
struct Beat {
    message: pb::AppendRequest,
    within: Duration,
    answer: oneshot::Sender<Result<pb::AppendReply, Status>>,
}

/// What is gathered for each peer.
#[derive(Default)]
pub(super) struct Beats {
    to: Mutex<HashMap<NodeId, mpsc::Sender<Beat>>>,
    /// Groups that this host takes part in.
    pub(super) groups: AtomicUsize,
}

impl Beats {
    fn to(&self) -> MutexGuard<'_, HashMap<NodeId, mpsc::Sender<Beat>>> {
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self) {
        self.to().clear();
    }
}

impl Channels {
    /// A group more, or one less, beats with the others.
    pub(crate) fn group_added(&self) {
        self.beats.groups.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn group_removed(&self) {
        self.beats.groups.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sends a heartbeat of a group together with those of others.
    pub(super) async fn beat(
        self: &Arc<Self>,
        to: NodeId,
        message: pb::AppendRequest,
        within: Duration,
    ) -> Result<pb::AppendReply, Status> {
        let (answer, answered) = oneshot::channel();
        let sender = self.beats.to().entry(to).or_insert_with(|| self.gather(to)).clone();
        sender.try_send(Beat { message, within, answer }).map_err(|_| {
            Status::resource_exhausted(format!("{WAITING_MAX} heartbeats wait for node {to}"))
        })?;
        match timeout(within, answered).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) => Err(Status::unavailable("the connections are closed")),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer from node {to}"))),
        }
    }

    /// Starts the task that sends to one peer.
    fn gather(self: &Arc<Self>, to: NodeId) -> mpsc::Sender<Beat> {
        let (sender, mut waiting) = mpsc::channel(WAITING_MAX);
        let channels = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(first) = waiting.recv().await {
                let Some(channels) = channels.upgrade() else { return };
                if channels.beats.groups.load(Ordering::Relaxed) > 1 {
                    sleep(GATHER).await;
                }
                let mut beats = vec![first];
                while let Ok(next) = waiting.try_recv() {
                    beats.push(next);
                }
                // One message does not wait for the answers to another.
                tokio::spawn(async move { channels.send(to, beats).await });
            }
        });
        sender
    }

    async fn send(&self, to: NodeId, beats: Vec<Beat>) {
        // Who waits for less gives up by itself.
        let within = beats.iter().map(|beat| beat.within).max().unwrap_or_default();
        let (beats, waiting): (Vec<_>, Vec<_>) =
            beats.into_iter().map(|beat| (beat.message, beat.answer)).unzip();
        let mut request = Request::new(pb::Beats { beats });
        request.set_timeout(within);
        let replies = match self.client(to, Lane::Control) {
            Ok(mut client) => client.beat(request).await.map(|replies| replies.into_inner().replies),
            Err(status) => Err(status),
        };
        // Who waited may have given up.
        match replies {
            Ok(replies) => {
                waiting.into_iter().zip(replies).for_each(|(to, reply)| drop(to.send(read(reply))))
            }
            Err(status) => waiting.into_iter().for_each(|to| drop(to.send(Err(status.clone())))),
        }
    }
}

fn read(reply: pb::BeatReply) -> Result<pb::AppendReply, Status> {
    use pb::beat_reply::Result as Wire;
    match reply.result {
        Some(Wire::Reply(reply)) => Ok(reply),
        Some(Wire::Refused(refused)) => Err(Status::new(Code::from(refused.code), refused.message)),
        None => Err(DecodeError::missing("result").into()),
    }
}

/// The answer to one beat.
pub(super) fn reply(result: Result<pb::AppendReply, Status>) -> pb::BeatReply {
    use pb::beat_reply::Result as Wire;
    let result = match result {
        Ok(reply) => Wire::Reply(reply),
        Err(status) => Wire::Refused(pb::BeatRefusal {
            code: status.code() as i32,
            message: status.message().to_owned(),
        }),
    };
    pb::BeatReply { result: Some(result) }
}
