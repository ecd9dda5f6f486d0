//! Keeps one child running: starts it, sees it end, starts it again as [`restart`](super::restart) decides.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::doors::Doors;
use super::incarnation::Incarnations;
use super::restart::{Ended, Next, Restarts, WINDOW};
use crate::children;
use crate::config::DEFAULTS;
use crate::ground::{Board, Kind, Line, Order, State};
use crate::os;

/// A caller waits so long for a child that is started again; for longer it is refused, and goes to another node.
const WAITS_MAX: Duration = Duration::from_secs(1);

/// How far the end of the node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// It runs.
    No,
    /// Nothing is asked yet, but a child that ends stays so: whoever ends the node may have told it too.
    NoRestart,
    /// The child is asked, and killed after its deadline.
    Gently,
    /// The child is killed.
    Now,
}

/// One child over all its lives.
#[derive(Debug)]
pub(crate) struct Keeper {
    kind: Kind,
    order: Arc<Order>,
    lock: Arc<File>,
    doors: Doors,
    incarnations: Incarnations,
    board: Board,
    restarts: Restarts,
    begin: Instant,
}

/// One life.
#[derive(Debug)]
struct Life {
    process: Child,
    pid: u32,
    line: Line,
    started: Instant,
}

impl Keeper {
    /// A keeper of a child that gets this order, the folder's lock and these listeners each time.
    pub(crate) fn new(
        kind: Kind,
        order: Arc<Order>,
        lock: Arc<File>,
        listeners: Vec<TcpListener>,
        incarnations: Incarnations,
        board: Board,
    ) -> Self {
        let restarts = Restarts::default();
        let doors = Doors::new(listeners);
        Self { kind, order, lock, doors, incarnations, board, restarts, begin: now() }
    }

    /// Keeps the child until it is told to stop. Spawn it on a runtime of one thread, the process's main
    /// thread: the child's death signal follows the thread that forked it.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<Stop>) {
        loop {
            let (ended, words, started) = match self.start() {
                Ok(life) => match self.live(life, &mut stop).await {
                    Some(end) => end,
                    None => break,
                },
                Err(error) => (Ended::NotStarted, Some(error.to_string()), now()),
            };
            let moment = now();
            let next = self.restarts.after(ended, moment - self.begin, moment - started);
            self.note(ended, words, next);
            let Next::Start { after, .. } = next else {
                // Nobody will ever accept: callers are refused instead of waiting.
                self.doors.close();
                // It fails only when the sender is gone, and then the node has ended too.
                let _ = stop.wait_for(|stop| *stop != Stop::No).await;
                break;
            };
            if after > WAITS_MAX {
                self.doors.shut();
            }
            tokio::select! {
                () = tokio::time::sleep(after) => {}
                _ = stop.wait_for(|stop| *stop != Stop::No) => break,
            }
            self.board.update(self.kind, |child| child.restarts += 1);
        }
        self.board.update(self.kind, |child| {
            child.state = State::Stopped;
            child.pid = None;
        });
    }

    fn start(&mut self) -> std::io::Result<Life> {
        self.doors.open()?;
        let (line, stdin) = Line::pair()?;
        let verb = match self.kind {
            Kind::Controller => children::CONTROLLER,
            Kind::Data => children::DATA_PLANE,
            Kind::Store => children::STORE,
        };
        // The link leads to this very program even when its file was replaced meanwhile. A process group of
        // its own keeps Ctrl-C in a terminal from children: they end in the order that we choose.
        let process = Command::new("/proc/self/exe")
            .arg0("coracle")
            .args([verb, "--parent", &std::process::id().to_string()])
            .stdin(stdin)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().ok_or(std::io::ErrorKind::NotFound)?;
        let order = Order { incarnation: self.incarnations.next(), ..Order::clone(&self.order) };
        line.send(&order, &self.lock, self.doors.listeners())?;
        self.board.update(self.kind, |child| {
            child.state = State::Running;
            child.pid = Some(pid);
        });
        info!(child = self.kind.name(), pid, "started");
        Ok(Life { process, pid, line, started: now() })
    }

    /// Sees one life to its end: how it ended, its last words, when it began. `None` when it was asked to.
    async fn live(
        &mut self,
        mut life: Life,
        stop: &mut watch::Receiver<Stop>,
    ) -> Option<(Ended, Option<String>, Instant)> {
        let (mut stopping, mut settled) = (Stop::No, false);
        loop {
            tokio::select! {
                status = life.process.wait() => {
                    let ended = status.map_or(Ended::NotStarted, ended);
                    return (stopping == Stop::No).then(|| (ended, life.line.last_words(), life.started));
                }
                Ok(asked) = stop.wait_for(|stop| *stop > stopping) => {
                    stopping = *asked;
                    self.end(life.pid, stopping);
                }
                () = tokio::time::sleep(WINDOW.saturating_sub(now() - life.started)), if !settled => {
                    settled = true;
                    if self.restarts.lived(WINDOW) {
                        info!(child = self.kind.name(), pid = life.pid, "lives on");
                        self.board.update(self.kind, |child| child.alarm = false);
                    }
                }
                () = tokio::time::sleep(DEFAULTS.stop_deadline), if stopping == Stop::Gently => {
                    warn!(child = self.kind.name(), pid = life.pid, "did not end in time");
                    stopping = Stop::Now;
                    self.end(life.pid, stopping);
                }
            }
        }
    }

    fn end(&mut self, pid: u32, stop: Stop) {
        if stop > Stop::NoRestart {
            // The child closes its own when it is asked: from then on connections are refused, not left waiting.
            self.doors.close();
        }
        let sent = match stop {
            Stop::No | Stop::NoRestart => Ok(()),
            Stop::Gently => os::terminate(pid),
            Stop::Now => os::kill(pid),
        };
        if let Err(error) = sent {
            warn!(child = self.kind.name(), pid, %error, "cannot be asked to end");
        }
    }

    pub(super) fn note(&self, ended: Ended, words: Option<String>, next: Next) {
        let (name, words) = (self.kind.name(), words.as_deref().unwrap_or_default().trim());
        let message = if words.is_empty() { ended.to_string() } else { words.to_owned() };
        let (state, alarm) = match next {
            Next::GiveUp => {
                error!(child = name, %ended, reason = words, "is not started again: change what it names");
                (State::GivenUp, true)
            }
            Next::Start { after, alarm: true } => {
                error!(child = name, %ended, reason = words, ?after, "crashes again and again");
                (State::Waiting, true)
            }
            Next::Start { alarm: false, .. } => {
                warn!(child = name, %ended, reason = words, "is started again");
                (State::Waiting, false)
            }
        };
        self.board.update(self.kind, |child| {
            child.pid = None;
            child.state = state;
            child.alarm = alarm;
            child.last_message = Some(message);
        });
        if ended.is_removed() {
            self.board.removed();
        }
    }
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::NotStarted,
    }
}

#[expect(clippy::disallowed_methods, reason = "the supervisor is where restarts meet the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a look at a process takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn callers_are_refused_while_it_waits_long_before_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let board = Board::new(folder.path(), &[Kind::Data]);
        let lock = os::lock(&folder.path().join("lock")).unwrap().unwrap();
        let (order, incarnations) = (Arc::new(crate::ground::example()), Incarnations::load(folder.path()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // This very program does not know the verb: it ends at once, again and again.
        let keeper =
            Keeper::new(Kind::Data, order, Arc::new(lock), vec![listener], incarnations, board.clone());
        let (stop, stopped) = watch::channel(Stop::No);
        let kept = tokio::spawn(keeper.run(stopped));
        let mut seen = board.subscribe();
        let alarmed = seen.wait_for(|view| view.children.iter().all(|child| child.alarm));
        assert!(tokio::time::timeout(PATIENCE, alarmed).await.is_ok_and(|alarmed| alarmed.is_ok()));
        let refused = tokio::time::timeout(PATIENCE, async {
            while tokio::net::TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        assert!(refused.await.is_ok(), "connections wait for a start that is 30 s away");
        stop.send_replace(Stop::NoRestart);
        assert!(tokio::time::timeout(PATIENCE, kept).await.is_ok_and(|kept| kept.is_ok()));
    }

    #[tokio::test]
    async fn the_alarm_ends_when_the_child_has_lived_long_enough() {
        let folder = tempfile::tempdir().unwrap();
        let board = Board::new(folder.path(), &[Kind::Data]);
        let lock = os::lock(&folder.path().join("lock")).unwrap().unwrap();
        let (order, incarnations) = (Arc::new(crate::ground::example()), Incarnations::load(folder.path()));
        let mut keeper =
            Keeper::new(Kind::Data, order, Arc::new(lock), Vec::new(), incarnations, board.clone());
        let crash = |at| keeper.restarts.after(Ended::Signal(11), Duration::from_secs(at), Duration::ZERO);
        assert!(matches!((0..5).map(crash).last(), Some(Next::Start { alarm: true, .. })));
        board.update(Kind::Data, |child| child.alarm = true);

        let process = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let (pid, (line, _child)) = (process.id().unwrap(), Line::pair().unwrap());
        let life = Life { process, pid, line, started: now().checked_sub(WINDOW).unwrap() };
        let (_stop, mut stopped) = watch::channel(Stop::No);
        let living = tokio::spawn(async move { drop(keeper.live(life, &mut stopped).await) });
        let mut seen = board.subscribe();
        let calm = seen.wait_for(|view| view.children.iter().all(|child| !child.alarm));
        assert!(tokio::time::timeout(PATIENCE, calm).await.is_ok_and(|calm| calm.is_ok()));
        living.abort();
    }
}
