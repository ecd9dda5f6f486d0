//! The clock that makes a looping guest yield: it ticks only while calls run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// A guest computes for one tick, and until the next one, before others have their turn and its limits are looked at. One
/// millisecond is the least CPU time that can be asked for, and costs about 0.4 % of one core while calls run.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// Ticks without a call until the thread sleeps. Waking it costs the next call some microseconds.
const IDLE_TICKS: u32 = 1000;

/// Owns the ticking thread; dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

/// A call that wants ticks.
#[derive(Debug)]
pub(super) struct Ticking(Arc<Shared>);

impl Ticker {
    /// Starts the thread.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, theirs) = (engine.weak(), Arc::clone(&shared));
        let thread =
            std::thread::Builder::new().name("wasm-ticks".into()).spawn(move || run(&engine, &theirs))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Ticks until the guard is dropped.
    pub(super) fn tick(&self) -> Ticking {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(Arc::clone(&self.shared))
    }

    /// Calls that run now.
    pub(super) fn running(&self) -> usize {
        self.shared.running.load(Ordering::Relaxed)
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn run(engine: &EngineWeak, shared: &Shared) {
    let mut idle = 0;
    while !shared.ended.load(Ordering::SeqCst) {
        let Some(engine) = engine.upgrade() else { return };
        engine.increment_epoch();
        drop(engine);
        idle = if shared.running.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
        if idle < IDLE_TICKS {
            std::thread::park_timeout(TICK);
            continue;
        }
        // First the mark, then the look: a call that begins in between sees the mark and wakes this thread.
        shared.asleep.store(true, Ordering::SeqCst);
        while shared.running.load(Ordering::SeqCst) == 0 && !shared.ended.load(Ordering::SeqCst) {
            std::thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
        idle = 0;
    }
}
