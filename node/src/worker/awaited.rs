//! Calls whose guests wait for their callers' bytes: they keep their places while there are enough, and make room where not.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use coracle_proto::id::FunctionId;
use coracle_proto::status::Code;
use futures::task::AtomicWaker;
use http_body::{Frame, SizeHint};
use tokio_util::sync::CancellationToken;

use crate::call::{Body, CallError};
use crate::clock;

/// What a body that comes in time comes with at least, in bytes each millisecond: 16 kB a second is a slow telephone's.
const BYTES_PER_MS: u64 = 16;
/// How far a body must be behind that for its call to make room for a caller that has fewer such calls: what a line that
/// carries can lag,
const BEHIND_MIN: Duration = Duration::from_millis(250);
/// and for anybody, where its answer has not begun. Who talks with its function may be silent for longer.
const BEHIND_MAX: Duration = Duration::from_secs(5);
/// Then for so long.
const BEHIND_ANSWERED_MAX: Duration = Duration::from_secs(30);
/// Where one caller's calls that wait have more than half of the places, anybody's other calls are few beside them, and those
/// of whoever shares its address none: then for so long.
const BEHIND_CROWD_MAX: Duration = Duration::from_secs(1);
/// What a body that came faster may be late by for it, in bytes: two seconds, however much came.
const AHEAD_BYTES_MAX: i64 = 2000 * BYTES_PER_MS.cast_signed();

/// The calls of a node that wait now, or have waited: no more than have a slot. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Awaiting(Arc<Mutex<HashMap<u64, Arc<Wait>>>>);

/// How long a call has waited for its caller.
#[derive(Debug)]
pub(super) struct Wait {
    function: FunctionId,
    caller: IpAddr,
    begun: Instant,
    /// What was missing before it waited this time, in bytes; less than nothing where more had come.
    missing: AtomicI64,
    /// Since when it waits now, in milliseconds after `begun` and one; 0 when it does not.
    since_ms: AtomicU64,
    bytes: AtomicU64,
    answered: AtomicBool,
    over: AtomicBool,
    waker: AtomicWaker,
    gone: CancellationToken,
}

impl Wait {
    pub(super) fn new(function: FunctionId, caller: IpAddr) -> Arc<Self> {
        Arc::new(Self {
            function,
            caller,
            begun: clock::now(),
            missing: AtomicI64::new(0),
            since_ms: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            over: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            gone: CancellationToken::new(),
        })
    }

    /// To be cancelled when the call has given its place back.
    pub(super) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }

    /// Its answer has begun.
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    fn waits(&self) {
        if self.since_ms.load(Ordering::Relaxed) == 0 {
            self.since_ms.store(self.now_ms(), Ordering::Relaxed);
        }
    }

    fn went_on(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let since = self.since_ms.swap(0, Ordering::Relaxed);
        let came = i64::try_from(bytes).unwrap_or(i64::MAX);
        let missing = self.missing_after(since).saturating_sub(came).max(-AHEAD_BYTES_MAX);
        // Only whoever reads the body writes it.
        self.missing.store(missing, Ordering::Relaxed);
    }

    /// What is missing now to a body that comes in time, in bytes.
    fn missing_after(&self, since_ms: u64) -> i64 {
        let waits_ms = if since_ms > 0 { self.now_ms().saturating_sub(since_ms) } else { 0 };
        let due = i64::try_from(waits_ms.saturating_mul(BYTES_PER_MS)).unwrap_or(i64::MAX);
        self.missing.load(Ordering::Relaxed).saturating_add(due)
    }

    /// How much longer its guest has waited than for a body that comes in time; none while it does not wait.
    fn behind(&self) -> Option<Duration> {
        let since = self.since_ms.load(Ordering::Relaxed);
        (since > 0).then(|| {
            let missing = u64::try_from(self.missing_after(since)).unwrap_or(0);
            Duration::from_millis(missing / BYTES_PER_MS)
        })
    }

    /// How far it must be behind to make room for anybody.
    fn patience(&self, crowd: bool) -> Duration {
        match (self.answered.load(Ordering::Relaxed), crowd) {
            (true, _) => BEHIND_ANSWERED_MAX,
            (false, true) => BEHIND_CROWD_MAX,
            (false, false) => BEHIND_MAX,
        }
    }

    fn now_ms(&self) -> u64 {
        clock::millis(clock::now().saturating_duration_since(self.begun)).saturating_add(1)
    }

    fn error(&self) -> CallError {
        let said = format!(
            "the call made room for others: '{}' sent {} bytes of the request's body, slower than {BYTES_PER_MS} kB a \
             second, while other calls of '{}' found no place",
            self.caller,
            self.bytes.load(Ordering::Relaxed),
            self.function
        );
        CallError::new(Code::RequestTimeout, said)
    }
}

impl Awaiting {
    /// Ends a call that waits for its caller, so that one of another caller may run; of one function, where its calls have
    /// all `places` that it may have. Its token is cancelled when it has given its place back.
    pub(super) fn make_room(
        &self,
        (of, places): (Option<&FunctionId>, u32),
        caller: IpAddr,
    ) -> Option<CancellationToken> {
        let mut calls = self.calls();
        let behind: Vec<_> = calls
            .iter()
            .filter(|(_, wait)| of.is_none_or(|of| *of == wait.function))
            .filter_map(|(number, wait)| Some((*number, wait, wait.behind().filter(|it| *it >= BEHIND_MIN)?)))
            .collect();
        let mut of_caller = HashMap::<IpAddr, usize>::new();
        for (_, wait, _) in &behind {
            *of_caller.entry(wait.caller).or_default() += 1;
        }
        let its = |caller: &IpAddr| of_caller.get(caller).copied().unwrap_or(0);
        // Whoever has most of them has at least as many as the other one even then.
        let most = behind.iter().filter(|(_, wait, _)| its(&wait.caller) > its(&caller).saturating_add(1));
        let most = most.max_by_key(|(_, wait, behind)| (its(&wait.caller), *behind));
        let is_crowd = |its: usize| its > 1 && its > places as usize / 2;
        let longest = || {
            let late = |(_, wait, behind): &&(u64, &Arc<Wait>, Duration)| {
                *behind >= wait.patience(is_crowd(its(&wait.caller)))
            };
            // Those that talk with their functions last.
            let talks = |wait: &Wait| wait.answered.load(Ordering::Relaxed);
            behind.iter().filter(late).max_by_key(|(_, wait, behind)| (!talks(wait), *behind))
        };
        let number = most.or_else(longest)?.0;
        let wait = calls.remove(&number)?;
        drop(calls);
        tracing::debug!(caller = %wait.caller, function = %wait.function, "a call that waits for its caller makes room");
        wait.over.store(true, Ordering::Release);
        wait.waker.wake();
        Some(wait.gone())
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<u64, Arc<Wait>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's body on its way to a guest that may have to wait for it.
#[derive(Debug)]
pub(super) struct Awaited {
    body: Body,
    wait: Arc<Wait>,
    all: Awaiting,
    /// Among all, since it first had to wait.
    number: Option<u64>,
    /// Its guest knows that it makes room.
    told: bool,
}

impl Awaited {
    pub(super) fn body(body: Body, wait: Arc<Wait>, all: Awaiting) -> Body {
        Body::new(Self { body, wait, all, number: None, told: false })
    }

    fn end(&mut self) -> CallError {
        (self.body, self.told) = (Body::default(), true);
        self.wait.went_on(0);
        self.wait.error()
    }

    fn enter(&mut self) {
        let number = rand::random();
        self.all.calls().insert(number, Arc::clone(&self.wait));
        self.number = Some(number);
    }

    fn leave(&mut self) {
        if let Some(number) = self.number.take() {
            self.all.calls().remove(&number);
        }
    }
}

impl http_body::Body for Awaited {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let this = &mut *self;
        if this.wait.over.load(Ordering::Acquire) {
            return Poll::Ready((!this.told).then(|| Err(this.end())));
        }
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Pending => {
                this.wait.waits();
                if this.number.is_none() {
                    this.enter();
                }
                this.wait.waker.register(context.waker());
                // It may have been told just before.
                if this.wait.over.load(Ordering::Acquire) {
                    return Poll::Ready(Some(Err(this.end())));
                }
            }
            Poll::Ready(Some(Ok(frame))) => this.wait.went_on(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(Some(Err(_)) | None) => {
                this.wait.went_on(0);
                this.leave();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> FunctionId {
        FunctionId::parse("", name).unwrap()
    }

    fn caller(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// Calls of one function that wait, each for so long.
    fn awaiting(calls: &[(u8, u64)]) -> (Awaiting, Vec<Arc<Wait>>) {
        let all = Awaiting::default();
        let waits: Vec<_> = calls
            .iter()
            .map(|(last, waited_ms)| {
                let wait = Wait::new(function("f"), caller(*last));
                wait.missing.store(i64::try_from(waited_ms * BYTES_PER_MS).unwrap(), Ordering::Relaxed);
                wait.waits();
                wait
            })
            .collect();
        all.calls().extend(waits.iter().enumerate().map(|(index, wait)| (index as u64, Arc::clone(wait))));
        (all, waits)
    }

    fn gone(waits: &[Arc<Wait>]) -> Vec<bool> {
        waits.iter().map(|wait| wait.over.load(Ordering::Relaxed)).collect()
    }

    /// So many places that nobody has half of them.
    const ALL: (Option<&FunctionId>, u32) = (None, 100);

    #[test]
    fn whoever_has_most_gives_one_up_and_equals_do_not() {
        let (all, waits) = awaiting(&[(1, 300), (1, 400), (2, 900)]);
        assert!(all.make_room((Some(&function("g")), 100), caller(3)).is_none(), "others' places are no use");
        assert!(all.make_room(ALL, caller(2)).is_none(), "it would have one more than the other then");
        assert!(all.make_room((Some(&function("f")), 100), caller(3)).is_some());
        assert_eq!(gone(&waits), [false, true, false], "the longest of whoever has most");
        assert!(all.make_room(ALL, caller(3)).is_none(), "one each");
    }

    #[test]
    fn who_is_late_makes_room_for_anybody_and_later_where_its_answer_has_begun() {
        let late = BEHIND_MAX.as_millis() as u64;
        let (all, waits) = awaiting(&[(1, late), (1, late + 10), (1, 900), (2, 0), (2, 0)]);
        waits[1].answered();
        assert!(all.make_room(ALL, caller(1)).is_some());
        assert_eq!(gone(&waits), [true, false, false, false, false]);
        assert!(all.make_room(ALL, caller(1)).is_none());
        let very_late = BEHIND_ANSWERED_MAX.as_millis() as u64;
        waits[1].missing.store((very_late * BYTES_PER_MS).cast_signed(), Ordering::Relaxed);
        assert!(all.make_room(ALL, caller(1)).is_some());
        assert_eq!(gone(&waits), [true, true, false, false, false]);
    }

    #[test]
    fn who_has_half_of_the_places_makes_room_sooner_for_whoever_shares_its_address() {
        let (all, waits) = awaiting(&[(1, 1100), (1, 1200), (1, 900)]);
        assert!(all.make_room((None, 6), caller(1)).is_none(), "half of them and no more");
        assert!(all.make_room((None, 5), caller(1)).is_some());
        assert_eq!(gone(&waits), [false, true, false]);
        let (one, _waits) = awaiting(&[(1, 1100)]);
        assert!(one.make_room((None, 1), caller(1)).is_none(), "one is no crowd");
    }

    #[test]
    fn a_body_that_comes_in_time_is_never_behind() {
        let (all, waits) = awaiting(&[(1, 60_000), (1, 60_000), (1, 60_000)]);
        for wait in &waits {
            wait.went_on(1_000_000);
            assert_eq!(wait.behind(), None, "it does not wait");
            wait.waits();
        }
        assert!(all.make_room(ALL, caller(2)).is_none());
        let behind = 1000 * BYTES_PER_MS.cast_signed();
        waits[0].missing.store(behind, Ordering::Relaxed);
        assert!(all.make_room(ALL, caller(2)).is_none(), "of one slow body only");
        waits[1].missing.store(behind, Ordering::Relaxed);
        assert!(all.make_room(ALL, caller(2)).is_some());
    }

    #[test]
    fn what_came_at_once_buys_no_long_silence() {
        let wait = Wait::new(function("f"), caller(1));
        wait.waits();
        wait.went_on(10_000_000);
        assert_eq!(wait.missing.load(Ordering::Relaxed), -AHEAD_BYTES_MAX);
        // Byte by byte is behind all the same.
        for _ in 0..10_000 {
            wait.went_on(1);
        }
        assert_eq!(wait.missing.load(Ordering::Relaxed), -AHEAD_BYTES_MAX);
    }
}
