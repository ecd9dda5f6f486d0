//! The floor: the least host that gives each request a fresh instance of a `wasi:http` component. It has one route, no limits,
//! no metrics and no log; what a platform costs is what it takes beyond this. A process of its own: see `main`.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// One for each core: whoever takes a connection drives its guests.
const THREADS: usize = 2;
/// Bytes of a memory that stay between two requests, as the platform's.
const KEEP_RESIDENT: usize = 1 << 20;
const TICK: Duration = Duration::from_millis(10);

struct Guest {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: Default::default() }
    }
}

/// Serves a component at an address until it is killed.
pub(crate) fn serve(component: &Path, address: &str) {
    let engine = engine();
    let component = Component::new(&engine, std::fs::read(component).unwrap()).unwrap();
    let mut linker = Linker::new(&engine);
    // Interpreters import more than `wasi:http` itself does.
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
    let pre = Arc::new(ProxyPre::new(linker.instantiate_pre(&component).unwrap()).unwrap());
    let ticked = engine.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(TICK); // a bounded poll: it is the clock
            ticked.increment_epoch();
        }
    });
    let listener = TcpListener::bind(address).unwrap();
    let threads: Vec<_> = (0..THREADS).map(|_| thread(Arc::clone(&pre))).collect();
    let next = AtomicUsize::new(0);
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        threads[next.fetch_add(1, Ordering::Relaxed) % THREADS].send(stream).unwrap();
    }
}

fn engine() -> Engine {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(1_000).total_tables(2_000).total_stacks(1_000);
    pool.total_core_instances(20_000).total_component_instances(1_000);
    pool.max_core_instances_per_component(50).max_tables_per_component(20).table_elements(100_000);
    pool.linear_memory_keep_resident(KEEP_RESIDENT).table_keep_resident(KEEP_RESIDENT);
    pool.pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).unwrap()
}

fn thread(pre: Arc<ProxyPre<Guest>>) -> UnboundedSender<std::net::TcpStream> {
    let (sender, streams) = unbounded_channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, accept(streams, pre));
    });
    sender
}

async fn accept(mut streams: UnboundedReceiver<std::net::TcpStream>, pre: Arc<ProxyPre<Guest>>) {
    while let Some(stream) = streams.recv().await {
        let (stream, pre) = (tokio::net::TcpStream::from_std(stream).unwrap(), Arc::clone(&pre));
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| answer(Arc::clone(&pre), request));
            // A caller that leaves ends its connection.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    pre: Arc<ProxyPre<Guest>>,
    request: http::Request<Incoming>,
) -> wasmtime::Result<http::Response<HyperOutgoingBody>> {
    let guest =
        Guest { table: ResourceTable::new(), wasi: WasiCtx::builder().build(), http: WasiHttpCtx::new() };
    let mut store = Store::new(pre.engine(), guest);
    store.set_epoch_deadline(1_000);
    let (answer, mut answered) = oneshot::channel();
    let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
    let answer = store.data_mut().http().new_response_outparam(answer)?;
    let mut run = Box::pin(async move {
        let proxy = pre.instantiate_async(&mut store).await?;
        proxy.wasi_http_incoming_handler().call_handle(&mut store, request, answer).await
    });
    let head = tokio::select! {
        biased;
        head = &mut answered => {
            tokio::task::spawn_local(run);
            head
        }
        _ = &mut run => answered.await,
    };
    Ok(head??)
}
