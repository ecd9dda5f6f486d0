//! Goal: a worker keeps its bounds, refuses at once what it may not run, and gives slots back at once.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle_proto::id::{Digest, Epoch, FunctionId, InvocationId, NodeId, VersionId, VersionNumber};
use coracle_proto::record::{Kind, Version};
use coracle_proto::spec::{Draft, FunctionSpec};
use coracle_proto::status::Code;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use prometheus_client::registry::Registry;
use tokio::sync::Notify;

use super::{Assigned, Assignments, Executor, Invoke, Options};
use crate::call::{Answer, Body, Call, CallError, Lease, Receipt, Trigger};
use crate::metrics::Metrics;

type Run = dyn Fn(Call) -> BoxFuture<'static, Result<Answer, CallError>> + Send + Sync;

/// A guest that is a closure.
pub(crate) struct Guest {
    run: Box<Run>,
    pub(crate) calls: AtomicU32,
    /// Calls whose future or body has not ended.
    pub(crate) open: Arc<AtomicU32>,
}

impl Guest {
    pub(crate) fn new<F>(run: impl Fn(Call) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<Answer, CallError>> + Send + 'static,
    {
        let run = Box::new(move |call| -> BoxFuture<'static, _> { Box::pin(run(call)) });
        Arc::new(Self { run, calls: AtomicU32::new(0), open: Arc::default() })
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) -> u32 {
        self.open.load(Ordering::SeqCst)
    }
}

struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl super::UntilEnd for Counted {}

impl Invoke for Guest {
    fn invoke(&self, call: Call) -> BoxFuture<'_, Result<Answer, CallError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.open.fetch_add(1, Ordering::SeqCst);
        let counted = Counted(Arc::clone(&self.open));
        let run = (self.run)(call);
        Box::pin(async move {
            let mut answer = run.await?;
            answer.response = answer.response.map(|body| super::Holding::body(body, counted));
            Ok(answer)
        })
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guest({} calls)", self.calls())
    }
}

/// Assignments that a test sets.
#[derive(Debug, Default)]
pub(crate) struct Fixed(pub(crate) Mutex<BTreeMap<VersionId, Assigned>>);

impl Fixed {
    pub(crate) fn set(&self, version: &Arc<Version>, epoch: u64, ready: bool) {
        let assigned = Assigned { epoch: Epoch::new(epoch), ready, version: Arc::clone(version) };
        self.0.lock().unwrap().insert(version.id.clone(), assigned);
    }
}

impl Assignments for Fixed {
    fn get(&self, version: &VersionId) -> Option<Assigned> {
        self.0.lock().unwrap().get(version).cloned()
    }
}

pub(crate) fn version(name: &str, draft: Draft) -> Arc<Version> {
    let function = FunctionId::parse("", name).unwrap();
    Arc::new(Version {
        id: VersionId { function, number: VersionNumber::new(1) },
        digest: Digest::new([7; 32]),
        size: 1,
        kind: Kind::HttpComponent,
        spec: FunctionSpec::new(draft).unwrap(),
        created_ms: 0,
        trace: String::new(),
    })
}

pub(crate) fn answer(body: Body) -> Answer {
    Answer { response: Response::new(body), cold: false, queue_wait: Duration::ZERO }
}

pub(crate) fn text(text: impl Into<String>) -> Answer {
    answer(Body::new(Full::from(text.into()).map_err(|never| match never {})))
}

pub(crate) fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::register(&mut Registry::default()))
}

/// Waits, at most ten seconds, until something is so.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    let begun = crate::clock::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await; // a bounded poll
    }
}

struct Bench {
    executor: Executor,
    version: Arc<Version>,
    assigned: Arc<Fixed>,
}

fn bench(guest: &Arc<Guest>, concurrency: u32, running_max: u32, queue_max: u32) -> Bench {
    let version = version("f", Draft { concurrency, ..Draft::default() });
    let assigned = Arc::new(Fixed::default());
    assigned.set(&version, 5, true);
    let options = Options { node: NodeId::new(1), slots: 1, running_max, queue_max };
    let (invoke, assignments) = (Arc::clone(guest), Arc::clone(&assigned));
    let executor = Executor::new(options, invoke, assignments, metrics());
    Bench { executor, version, assigned }
}

impl Bench {
    fn call(&self, epoch: u64) -> Call {
        Call {
            version: Arc::clone(&self.version),
            epoch: Epoch::new(epoch),
            invocation: InvocationId::new(1),
            attempt: 1,
            trigger: Trigger::Http { route: "/f".to_owned(), remote: None },
            head_timeout: Duration::from_secs(5),
            request: Request::new(Body::default()),
            lease: Lease::default(),
            receipt: Receipt::default(),
        }
    }

    async fn code(&self, epoch: u64) -> Code {
        self.executor.execute(self.call(epoch)).await.unwrap_err().code()
    }
}

fn open_guest() -> Arc<Guest> {
    // Its body never ends.
    Guest::new(async |_| Ok(answer(Body::new(http_body_util::StreamBody::new(futures::stream::pending())))))
}

#[tokio::test]
async fn the_concurrency_of_a_function_is_kept_until_bodies_end() {
    let bench = bench(&open_guest(), 2, 100, 100);
    let first = bench.executor.execute(bench.call(5)).await.unwrap();
    let _second = bench.executor.execute(bench.call(5)).await.unwrap();
    assert_eq!(bench.code(5).await, Code::ConcurrencyLimit);
    assert_eq!(bench.executor.load().in_flight, 2);
    drop(first);
    assert_eq!(bench.executor.load().in_flight, 1, "a dropped body gives its slot back at once");
    let _third = bench.executor.execute(bench.call(5)).await.unwrap();
    assert_eq!(bench.code(5).await, Code::ConcurrencyLimit);
}

#[tokio::test]
async fn a_dropped_call_gives_its_slot_back() {
    let guest = Guest::new(async |_| futures::future::pending().await);
    let bench = bench(&guest, 10, 1, 0);
    {
        let mut running = Box::pin(bench.executor.execute(bench.call(5)));
        assert!(futures::poll!(running.as_mut()).is_pending());
        assert_eq!(bench.executor.load().in_flight, 1);
        assert_eq!(bench.code(5).await, Code::Overloaded);
    }
    assert_eq!((bench.executor.load().in_flight, guest.open()), (0, 0));
}

#[tokio::test]
async fn calls_wait_in_line_for_a_slot() {
    let (go, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let wait = Arc::clone(&go);
    let guest = Guest::new(move |_| {
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            Ok(text("done"))
        }
    });
    drop(gate);
    let bench = bench(&guest, 10, 1, 1);
    let mut first = Box::pin(bench.executor.execute(bench.call(5)));
    let mut second = Box::pin(bench.executor.execute(bench.call(5)));
    assert!(futures::poll!(first.as_mut()).is_pending());
    assert!(futures::poll!(second.as_mut()).is_pending());
    assert_eq!(guest.calls(), 1, "the second one waits");
    assert_eq!(bench.code(5).await, Code::Overloaded, "the line has one place");
    go.notify_one();
    drop(first.await.unwrap());
    go.notify_one();
    let answer = second.await.unwrap();
    assert!(answer.queue_wait > Duration::ZERO);
}

#[tokio::test]
async fn one_function_leaves_slots_to_others() {
    let guest = open_guest();
    let bench = bench(&guest, 100, 8, 8);
    let mut open = Vec::new();
    for _ in 0..6 {
        open.push(bench.executor.execute(bench.call(5)).await.unwrap());
    }
    let mut waiting = Box::pin(bench.executor.execute(bench.call(5)));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    assert_eq!(guest.calls(), 6, "six of eight are its share");
    let other = version("g", Draft::default());
    bench.assigned.set(&other, 5, true);
    let call = |version: &Arc<Version>| Call { version: Arc::clone(version), ..bench.call(5) };
    for calls in [7, 8] {
        // At once, whoever waits for the other function.
        let mut running = Box::pin(bench.executor.execute(call(&other)));
        let std::task::Poll::Ready(answer) = futures::poll!(running.as_mut()) else { panic!("it waits") };
        open.push(answer.unwrap());
        assert_eq!(guest.calls(), calls);
    }
    let error = waiting.await.unwrap_err();
    assert_eq!(error.code(), Code::Overloaded);
    assert!(error.to_string().contains("has 8, of which 'f' may have 6"), "{error}");
}

#[tokio::test]
async fn one_function_leaves_places_in_the_line_to_others() {
    let bench = bench(&open_guest(), 100, 4, 4);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(bench.executor.execute(bench.call(5)).await.unwrap());
    }
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(bench.executor.execute(bench.call(5)))).collect();
    for call in &mut waiting {
        assert!(futures::poll!(call.as_mut()).is_pending());
    }
    let mut over = Box::pin(bench.executor.execute(bench.call(5)));
    let std::task::Poll::Ready(Err(error)) = futures::poll!(over.as_mut()) else { panic!("it waits too") };
    assert_eq!(error.code(), Code::Overloaded);
    assert!(error.to_string().contains("'f' has 6 calls on this node, running or waiting"), "{error}");
    let other = version("g", Draft::default());
    bench.assigned.set(&other, 5, true);
    let mut others: Vec<_> = (0..2)
        .map(|_| Box::pin(bench.executor.execute(Call { version: Arc::clone(&other), ..bench.call(5) })))
        .collect();
    let fourth = futures::poll!(others[0].as_mut());
    assert!(matches!(fourth, std::task::Poll::Ready(Ok(_))), "the fourth slot is free");
    assert!(futures::poll!(others[1].as_mut()).is_pending(), "and so is a place in the line");
}

#[tokio::test]
async fn nobody_waits_for_a_slot_for_long() {
    let bench = bench(&open_guest(), 10, 1, 1);
    let _open = bench.executor.execute(bench.call(5)).await.unwrap();
    let begun = crate::clock::now();
    assert_eq!(bench.code(5).await, Code::Overloaded);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(bench.executor.load().in_flight, 1);
}

/// A guest that has ended gives its slot back, but not so that answers which nobody reads fill the memory.
#[tokio::test]
async fn answers_that_nobody_reads_keep_their_slots_when_too_many_wait() {
    let large = bytes::Bytes::from(vec![b'x'; 6 << 20]);
    let guest = Guest::new(move |_| {
        let large = large.clone();
        async move { Ok(answer(Body::new(Full::from(large).map_err(|never| match never {})))) }
    });
    let bench = bench(&guest, 100, 8, 0);
    bench.assigned.set(&bench.version, 5, true);
    let mut waiting = Vec::new();
    for _ in 0..42 {
        waiting.push(bench.executor.execute(bench.call(5)).await.unwrap());
    }
    assert_eq!(bench.executor.load().in_flight, 0, "252 MiB of 256 wait beside the slots");
    waiting.push(bench.executor.execute(bench.call(5)).await.unwrap());
    assert_eq!(bench.executor.load().in_flight, 1, "the next one keeps its slot");
    waiting.remove(0).response.into_body().collect().await.unwrap();
    waiting.push(bench.executor.execute(bench.call(5)).await.unwrap());
    assert_eq!(bench.executor.load().in_flight, 1, "where one was read another one may wait");
    drop(waiting);
    assert_eq!(bench.executor.load().in_flight, 0);
}

#[tokio::test]
async fn refusals_say_why_and_run_nothing() {
    let guest = Guest::new(async |_| Ok(text("ran")));
    let bench = bench(&guest, 10, 10, 10);
    assert_eq!(bench.code(4).await, Code::StaleReplica);
    bench.assigned.set(&bench.version, 5, false);
    assert_eq!(bench.code(5).await, Code::NotReady);
    bench.assigned.0.lock().unwrap().clear();
    assert_eq!(bench.code(5).await, Code::StaleReplica);
    bench.assigned.set(&bench.version, 5, true);
    assert!(bench.executor.execute(bench.call(6)).await.is_ok(), "a higher epoch is newer news");
    bench.executor.drain();
    assert_eq!(bench.code(5).await, Code::Draining);
    assert_eq!(guest.calls(), 1);
}

#[tokio::test]
async fn the_guest_gets_the_whole_spec_and_the_platforms_headers() {
    let guest = Guest::new(async |call: Call| {
        let header = |name| {
            call.request.headers().get(name).map(|it: &http::HeaderValue| it.to_str().unwrap().to_owned())
        };
        let route = header(coracle_proto::attr::HEADER_ROUTE).unwrap();
        let id = header(coracle_proto::attr::HEADER_INVOCATION).unwrap();
        Ok(text(format!("{route} {} {}", id.len(), call.version.spec.env().len())))
    });
    let bench = bench(&guest, 10, 10, 10);
    let env = BTreeMap::from([("SECRET".to_owned(), "x".to_owned())]);
    bench.assigned.set(&version("f", Draft { env, ..Draft::default() }), 5, true);
    let answer = bench.executor.execute(bench.call(5)).await.unwrap();
    let body = answer.response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "/f 32 1");
}
