//! A guest's answer on its way from the threads of calls to the thread of its connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use coracle_proto::pb::AnswerFrame;
use futures::{Stream, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;

use super::answer::Answering;

/// The frames of one answer. Dropping it stops the guest.
#[derive(Debug)]
pub enum Carried {
    /// The guest has ended: what is left is here.
    Whole(Box<Answering>),
    /// The guest runs on, and is driven there.
    Under(mpsc::Receiver<Result<AnswerFrame, Status>>, AbortOnDropHandle<()>),
}

impl Carried {
    /// Drives the answer on those threads, one frame ahead of the connection.
    pub(super) fn on(calls: &Handle, mut answering: Answering) -> Self {
        if !answering.runs_on() {
            return Self::Whole(Box::new(answering));
        }
        let (sender, receiver) = mpsc::channel(1);
        let driving = async move {
            while let Ok(place) = sender.reserve().await {
                let Some(frame) = answering.next().await else { return };
                place.send(frame);
            }
        };
        Self::Under(receiver, AbortOnDropHandle::new(calls.spawn(driving)))
    }
}

impl Stream for Carried {
    type Item = Result<AnswerFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut *self {
            Self::Whole(answering) => answering.poll_next_unpin(cx),
            Self::Under(frames, _) => frames.poll_recv(cx),
        }
    }
}
