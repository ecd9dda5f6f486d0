//! Answers that are on their way to other nodes, to be broken off when their callers leave.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use coracle_proto::id::InvocationId;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// An attempt of a call.
type Attempt = (InvocationId, u32);

/// As many as there are streams, which the executor bounds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenAnswers(Arc<Mutex<HashMap<Attempt, CancellationToken>>>);

/// One of them; dropping it takes it out.
#[derive(Debug)]
pub(super) struct OpenAnswer {
    all: OpenAnswers,
    attempt: Attempt,
    left: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl OpenAnswers {
    pub(super) fn open(&self, attempt: Attempt) -> OpenAnswer {
        let token = CancellationToken::new();
        let left = Box::pin(token.clone().cancelled_owned());
        self.lock().insert(attempt, token);
        OpenAnswer { all: self.clone(), attempt, left }
    }

    /// The caller has left. What is not there has ended, or has not begun and is reset with its stream.
    pub(super) fn cancel(&self, attempt: Attempt) {
        if let Some(token) = self.lock().get(&attempt) {
            token.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Attempt, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenAnswer {
    /// Ready when the caller has left.
    pub(super) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.left.as_mut().poll(context)
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        self.all.lock().remove(&self.attempt);
    }
}
