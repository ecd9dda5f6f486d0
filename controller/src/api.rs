//! The gRPC services at 7400.

mod admin;
mod artifacts;
mod ask;
mod control;
mod deadline;
mod deploy;
mod groups;
mod logs;
mod overview;
mod process;
mod remove;
mod rollout;
mod span;
mod upload;

pub(crate) use admin::AdminService;
pub(crate) use control::ControlService;
pub(crate) use process::ProcessService;

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};

/// Messages that wait in a stream of answers; the sender waits when its reader is slower.
const STREAM_QUEUE: usize = 16;

/// A stream of answers.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream of answers that a task fills.
fn answers<T: Send + 'static>(queue: mpsc::Receiver<Result<T, Status>>) -> Response<Answers<T>> {
    Response::new(Box::pin(ReceiverStream::new(queue)))
}
