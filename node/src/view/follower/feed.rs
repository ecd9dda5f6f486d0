//! One scope's stream: connect, resume by revision, take over; and again from another controller.

use coracle_proto::codec::DecodeError;
use coracle_proto::id::ClusterId;
use coracle_proto::pb::{self, control_client::ControlClient};
use coracle_proto::record::Change;
use coracle_proto::soft::Parts;
use coracle_transport::{Dialer, Purpose};
use thiserror::Error;

use super::super::keeper::Select;
use super::super::wire::{Frame, News, soft_news};
use super::super::{Content, View, ViewHandle};
use crate::controllers::{Controllers, Then};

/// One frame; controllers cut far below.
const FRAME_BYTES_MAX: usize = 8 << 20;
/// Records of one snapshot: more do not fit in the memory of a node.
const RECORDS_MAX: usize = 4_000_000;

/// Why a stream ended.
#[derive(Debug, Error)]
enum FeedError {
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the stream broke off: {0}")]
    Stream(#[from] Box<tonic::Status>),
    #[error("the stream ended")]
    Ended,
    #[error("a frame was not understood: {0}")]
    Frame(#[from] DecodeError),
    #[error("it belongs to cluster {found}, this node to {expected}")]
    Foreign { found: ClusterId, expected: ClusterId },
    #[error("a snapshot has more than {RECORDS_MAX} records")]
    TooLarge,
    #[error("it would lead back to an older revision")]
    Older,
}

/// What came in part.
#[derive(Debug, Default)]
struct Begun {
    snapshot: Vec<Change>,
    statuses: Parts,
}

/// One scope's stream.
#[derive(Debug)]
pub(super) struct Feed<T> {
    pub(super) controllers: Vec<String>,
    pub(super) scope: pb::scope::Kind,
    pub(super) view: ViewHandle,
    pub(super) select: Select<T>,
}

impl<T: Content> Feed<T> {
    /// Follows for ever: from the nearest controller, and from another one only while that one tells nothing.
    pub(super) async fn run(&self) {
        let mut controllers = Controllers::new(self.controllers.clone(), Then::BeginAnew);
        loop {
            let controller = controllers.next(|| self.view.load().controllers()).await;
            let mut frames = 0_u64;
            let Err(error) = self.follow(&controller, &mut frames).await;
            self.view.update(|view| std::mem::replace(&mut (self.select)(view).following, false));
            if frames > 0 {
                controllers.answered();
                tracing::info!(controller, %error, frames, "the watch ended");
            } else {
                tracing::debug!(controller, %error, "no watch");
            }
        }
    }

    async fn follow(
        &self,
        controller: &str,
        frames: &mut u64,
    ) -> Result<std::convert::Infallible, FeedError> {
        let channel = Dialer::new(Purpose::Following).connect(controller).await?;
        let mut client = ControlClient::new(channel).max_decoding_message_size(FRAME_BYTES_MAX);
        let request = pb::WatchRequest {
            cluster_id: self.view.load().cluster.to_wire(),
            scope: Some(pb::Scope { kind: Some(self.scope) }),
            revision: self.revision(),
        };
        let mut stream = client.watch(request).await.map_err(Box::new)?.into_inner();
        let mut parts = Begun::default();
        loop {
            let frame = stream.message().await.map_err(Box::new)?.ok_or(FeedError::Ended)?;
            self.take(Frame::try_from(frame)?, &mut parts)?;
            *frames += 1;
        }
    }

    fn revision(&self) -> u64 {
        (self.select)(&mut View::clone(&self.view.load())).since().get()
    }

    /// Takes a frame over. `begun` is what came of it so far.
    fn take(&self, frame: Frame, begun: &mut Begun) -> Result<(), FeedError> {
        let expected = self.view.load().cluster;
        if frame.cluster != expected {
            return Err(FeedError::Foreign { found: frame.cluster, expected });
        }
        let all = frame.all;
        self.take_news(frame, begun)?;
        self.view.update(|view| {
            let scoped = (self.select)(view);
            let before = (scoped.told, scoped.following);
            (scoped.told, scoped.following) = (scoped.told || all, true);
            before != (scoped.told, scoped.following)
        });
        Ok(())
    }

    fn take_news(&self, frame: Frame, begun: &mut Begun) -> Result<(), FeedError> {
        let (changes, reset) = match frame.news {
            News::Soft(statuses) => {
                self.take_soft(statuses, &mut begun.statuses);
                return Ok(());
            }
            News::Changes(changes) => {
                begun.snapshot.clear();
                (changes, false)
            }
            News::Snapshot { changes, last } => {
                if begun.snapshot.len().saturating_add(changes.len()) > RECORDS_MAX {
                    return Err(FeedError::TooLarge);
                }
                begun.snapshot.extend(changes);
                if !last {
                    return Ok(());
                }
                (std::mem::take(&mut begun.snapshot), true)
            }
        };
        let mut taken = false;
        self.view.update(|view| {
            let nodes = |view: &View| view.routing.content.nodes().len() + view.held.content.nodes().len();
            let before = nodes(view);
            taken = (self.select)(view).take(frame.stamp, changes, reset);
            // Looking at every node at each revision would cost more than what a removed one leaves.
            if taken && (reset || nodes(view) < before) {
                view.forget_gone();
            }
            taken
        });
        if taken { Ok(()) } else { Err(FeedError::Older) }
    }

    fn take_soft(&self, statuses: Vec<pb::NodeStatus>, parts: &mut Parts) {
        // A controller tells of one node after the other: parts of two are never mixed.
        let whole = statuses.into_iter().filter_map(|part| parts.join(part));
        let news: Vec<_> = whole.filter_map(soft_news).collect();
        self.view.update(|view| {
            let mut any = false;
            for news in news {
                // Statuses of nodes that are gone would pile up.
                any |= view.node(news.now.node).is_some() && view.take_soft_news(news);
            }
            any
        });
    }
}
