//! Bodies that a guest makes as streams, for its own requests. The engine ends a stream that it drops with the guest as if it
//! were whole, and whoever reads it would take half a message for one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, WasiBody};

/// Whether the bodies of a call are cut off: told before the guest's store is dropped.
#[derive(Debug, Clone, Default)]
pub(in crate::runtime) struct Cut(Arc<AtomicBool>);

/// Cuts them off when it is dropped. What is on its way then is broken off, whole or not: the guest has its answer, or waits
/// for none.
#[derive(Debug)]
pub(in crate::runtime) struct Cutter(Cut);

impl Cut {
    /// What cuts them off.
    pub(in crate::runtime) fn by_drop(&self) -> Cutter {
        Cutter(self.clone())
    }

    /// A body that fails at its end, if it was cut off before.
    pub(super) fn watch(&self, body: WasiBody) -> WasiBody {
        Watched { body, cut: self.clone() }.boxed_unsync()
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}

struct Watched {
    body: WasiBody,
    cut: Cut,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(None) if self.cut.is_cut() => Poll::Ready(Some(Err(Error::ConnectionTerminated))),
            next => next,
        }
    }

    fn is_end_stream(&self) -> bool {
        // In this order: what ended before it was cut off is whole.
        self.body.is_end_stream() && !self.cut.is_cut()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn a_body_that_was_cut_off_does_not_pass_as_whole() {
        let body = || Full::new(Bytes::from("half")).map_err(|never| match never {}).boxed_unsync();
        let cut = Cut::default();
        assert_eq!(cut.watch(body()).collect().await.unwrap().to_bytes(), "half");
        let mut watched = cut.watch(body());
        let cutter = cut.by_drop();
        assert!(watched.frame().await.unwrap().is_ok() && watched.is_end_stream());
        drop(cutter);
        assert!(!watched.is_end_stream());
        assert!(watched.frame().await.unwrap().is_err());
    }
}
