//! The beginning of a streamed answer: while nothing of it has gone out, a guest that fails has no answer but its error.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep};

use super::body::{ResponseBody, Source};
use super::call::Deadline;
use crate::call::CallError;

/// How long an answer that has begun is held while its guest works on, for what fails at once fails as a whole.
pub(super) const HOLD: Duration = Duration::from_millis(50);

/// With the second piece the guest has gone on after the first.
const PIECES: usize = 2;

/// A body with what was read of it before its head went out.
pub(super) struct Opening<S> {
    first: VecDeque<Frame<Bytes>>,
    rest: ResponseBody<S>,
    /// Whether all of it is here.
    pub(super) whole: bool,
}

/// Waits for the first piece of a body, or its end: the head goes out with it. Without one it goes out when its own time is
/// over, or when the guest waits for its caller, who may wait for the head. A guest that has made a piece and computes
/// on is given a moment to fail.
pub(super) async fn begin<S: Source>(
    rest: ResponseBody<S>,
    mut deadline: Deadline,
) -> Result<Opening<S>, CallError> {
    let mut opening = Opening { first: VecDeque::new(), rest, whole: false };
    let mut hold = None;
    poll_fn(|cx| opening.poll_begin(&mut deadline, &mut hold, cx)).await?;
    Ok(opening)
}

impl<S: Source> Opening<S> {
    fn poll_begin(
        &mut self,
        deadline: &mut Deadline,
        hold: &mut Option<Pin<Box<Sleep>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallError>> {
        while self.first.len() < PIECES {
            match Pin::new(&mut self.rest).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.first.push_back(frame),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => {
                    self.whole = true;
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => return self.poll_wait(deadline, hold, cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the head is not to wait any longer.
    fn poll_wait(
        &self,
        deadline: &mut Deadline,
        hold: &mut Option<Pin<Box<Sleep>>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let held = match self.first.is_empty() {
            true => self.rest.awaits_caller(),
            false if self.rest.is_computing() => true,
            false => return Poll::Ready(()),
        };
        if held && hold.get_or_insert_with(|| Box::pin(sleep(HOLD))).as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        deadline.poll(cx).map(drop)
    }
}

impl<S: Source> HttpBody for Opening<S> {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        match self.first.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coracle_proto::spec::Draft;
    use coracle_proto::status::Code;
    use tokio::runtime::Handle;

    use super::super::call::CallContext;
    use super::super::call::tests::invocation;
    use super::super::run::{Run, Turns};
    use super::*;
    use crate::call::Lease;
    use crate::clock;
    use crate::outbound::Meter;

    /// A guest that has told its head, and makes nothing of its body.
    struct Silent;

    impl Source for Silent {
        fn poll(&mut self, _: bool, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
            Poll::Pending
        }
    }

    /// One that waits for ever.
    fn waiting(invocation: Arc<CallContext>) -> Run {
        let turns = Turns::new(std::future::pending(), invocation, (Arc::default(), None), Lease::default());
        Run::new(turns, Handle::current())
    }

    async fn opens_after(invocation: Arc<CallContext>, timeout: Duration) -> Duration {
        let run = waiting(invocation);
        let begun = clock::now();
        let opening = begin(ResponseBody::new(run, Silent), Deadline::new(clock::now(), timeout, timeout))
            .await
            .unwrap();
        assert!(opening.first.is_empty() && !opening.whole);
        begun.elapsed()
    }

    #[tokio::test]
    async fn a_head_without_a_body_goes_out_when_its_own_time_is_over() {
        let timeout = Duration::from_millis(300);
        let took = opens_after(invocation(Draft::default()).0, timeout).await;
        assert!(took >= timeout, "{took:?}");
    }

    /// It may send nothing before it has seen the head.
    #[tokio::test]
    async fn a_guest_that_waits_for_its_caller_lets_the_head_go_out() {
        let (invocation, _) = invocation(Draft::default());
        invocation.watch.set_awaits_caller(true);
        let took = opens_after(invocation, Duration::from_secs(60)).await;
        assert!(took >= HOLD && took < Duration::from_secs(30), "{took:?}");
    }

    #[tokio::test]
    async fn what_is_done_for_its_requests_is_the_calls_own_processor_time() {
        let limit = invocation(Draft::default()).0.limits().cpu_time;
        for (used, over) in [(limit / 2, false), (limit + Duration::from_millis(1), true)] {
            let (invocation, _) = invocation(Draft::default());
            invocation.has_requests(Meter::having(used));
            let mut run = waiting(invocation);
            let polled = poll_fn(|cx| Poll::Ready(run.poll(cx))).await;
            let code = match polled {
                Poll::Ready(Err(error)) => Some(error.code()),
                Poll::Ready(Ok(())) | Poll::Pending => None,
            };
            assert_eq!(code, over.then_some(Code::CpuTimeExceeded), "{used:?}");
        }
    }
}
