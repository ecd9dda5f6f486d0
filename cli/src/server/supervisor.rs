//! The life of a node: folder, identity, ports, children, and their end in order.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use coracle_controller::identity::{self, Identity, IdentityError};
use coracle_proto::record::Node;
use coracle_proto::status::Code;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

use super::announce::{announce, known_controllers};
use super::bind::{Sockets, bind};
use super::incarnation::Incarnations;
use super::join::{JoinError, join};
use super::keeper::{Keeper, Stop};
use super::report::{Removed, tell};
use super::settings::{Begin, Settings};
use crate::admin;
use crate::config::DEFAULTS;
use crate::exit::{Exit, Failure};
use crate::ground::{Board, Kind, Order, PIDS, Signals};
use crate::os;
use crate::telemetry::{self, Process};

/// Held as long as any process of the node runs.
pub(crate) const LOCK: &str = "lock";
/// Children of a killed supervisor end within milliseconds, unless the disk is slow.
const LOCK_TRIES_MAX: u32 = 60;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Runs a node until a signal ends it, or its removal from the cluster.
pub(crate) async fn supervise(settings: Settings) -> Result<(), Failure> {
    let guard = telemetry::init(&telemetry::Settings {
        process: Process::Supervisor,
        log: settings.log.clone(),
        default_filter: DEFAULTS.server_log,
        otlp: None,
        instance: String::new(),
    });
    let _guard = guard.map_err(|error| Failure::usage(error.to_string()))?;
    let mut signals = Signals::new()?;
    let lock = take_folder(&settings.folder).await?;
    let begins = identity::load(&settings.folder).map_err(|error| unidentified(error.into()))?.is_none();
    if begins {
        may_begin(&settings)?;
    }
    let Sockets { addresses, admin, data, http, held: _held } =
        bind(&settings.folder, &settings.flags, settings.serves(), settings.insecure)?;
    if begins {
        settings.may_join(&addresses)?;
    }
    let mut order = settings.order(&addresses);
    let bound =
        [(Kind::Controller, addresses.grpc), (Kind::Store, addresses.store), (Kind::Data, addresses.data)];
    let kinds: Vec<Kind> = bound.into_iter().filter_map(|(kind, bound)| bound.map(|_| kind)).collect();
    let board = Board::new(&settings.folder, &kinds);
    // From now on, for a node may wait long until it has joined.
    let admin = tokio::spawn(admin::serve(admin, addresses, board.clone()));
    let identity = tokio::select! {
        identity = identify(&settings, &order) => identity?,
        () = signals.next() => return Ok(()),
    };
    fill(&mut order, &identity);
    info!(cluster = %identity.cluster, node = %identity.node, folder = %settings.folder.display(), "node");
    let listeners = data.into_iter().chain(http).collect();
    let ended = run(Known { order, identity, lock, listeners, kinds, board }, &mut signals).await;
    admin.abort();
    ended
}

/// Whether a node that has no cluster was told how to get one.
fn may_begin(settings: &Settings) -> Result<(), Failure> {
    match settings.begin {
        Begin::Unsaid => Err(Failure::usage(format!(
            "{} holds no node yet: give --bootstrap to make a new cluster, or --join HOST:PORT to come into one",
            settings.folder.display()
        ))),
        Begin::Bootstrap if !settings.serves().controller => Err(Failure::usage(
            "--bootstrap: the first node of a cluster needs the role controller, for it is all that decides",
        )),
        Begin::Join(_) if settings.voters_wanted.is_some() => Err(Failure::usage(
            "--voters: a cluster is told when it is made, by --bootstrap; leave it out beside --join",
        )),
        Begin::Bootstrap | Begin::Join(_) => Ok(()),
    }
}

/// Makes the folder, for this user only, and takes it for this process.
async fn take_folder(folder: &Path) -> Result<File, Failure> {
    let named = |error| unusable(folder, &error);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(named)?;
    for _ in 0..LOCK_TRIES_MAX {
        if let Some(lock) = os::lock(&folder.join(LOCK)).map_err(named)? {
            return Ok(lock);
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    let pids = fs::read_to_string(folder.join(PIDS)).unwrap_or_default();
    let owner = pids.lines().next().unwrap_or_default();
    Err(Failure::usage(format!("another server uses the data folder {} ({owner})", folder.display())))
}

/// What stands in the way of a folder lasts until somebody changes it; a disk may recover.
fn unusable(folder: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotADirectory
        | ErrorKind::AlreadyExists => Exit::Config,
        _ => Exit::Server,
    };
    let sentence = format!("data folder {}: {error}; give another one with --data-dir", folder.display());
    Failure::new(exit, sentence)
}

/// Who the node is: what its folder says, or what founding or joining a cluster makes of it.
async fn identify(settings: &Settings, order: &Order) -> Result<Identity, Failure> {
    let folder = &settings.folder;
    let nobody = || JoinError::NoAnswer { seeds: Vec::new(), last: "no identity".to_owned() };
    let found = match &settings.begin {
        Begin::Bootstrap => identity::found(folder, &order.cluster_name).map_err(JoinError::from),
        Begin::Join(peers) => join(folder, peers, &record(order)?).await,
        Begin::Unsaid => {
            identity::load(folder).map_err(JoinError::from).and_then(|found| found.ok_or_else(nobody))
        }
    };
    found.map_err(unidentified)
}

fn unidentified(error: JoinError) -> Failure {
    let exit = match &error {
        JoinError::Refused { refusal } => return refusal.clone().into(),
        JoinError::NoAnswer { .. } => Exit::Connect,
        JoinError::Identity(IdentityError::Damaged { .. }) => Exit::Config,
        JoinError::Identity(IdentityError::Io { .. }) => Exit::Server,
    };
    Failure::new(exit, error.to_string())
}

/// Puts into the order who the node is and whom it may ask.
fn fill(order: &mut Order, identity: &Identity) {
    let own = order.grpc.map(|_| order.reached.grpc.clone());
    order.controllers = known_controllers(&order.folder, own, &identity.controllers);
    order.cluster = identity.cluster.to_string();
    order.cluster_name.clone_from(&identity.cluster_name);
    order.node = identity.node.get();
    order.founder = identity.founder;
}

fn record(order: &Order) -> Result<Node, Failure> {
    order.record().map_err(|error| Failure::usage(error.to_string()))
}

/// A node that knows who it is.
struct Known {
    order: Order,
    identity: Identity,
    lock: File,
    /// Of the data plane.
    listeners: Vec<TcpListener>,
    kinds: Vec<Kind>,
    board: Board,
}

async fn run(node: Known, signals: &mut Signals) -> Result<(), Failure> {
    let Known { order, identity, lock, mut listeners, kinds, board } = node;
    let identity = Identity { controllers: order.controllers.clone(), ..identity };
    let own = order.grpc.map(|_| order.reached.grpc.clone());
    let incarnations = Incarnations::load(&order.folder);
    let started = incarnations.next();
    let told = tell(order.folder.clone(), own, identity.clone(), started, board.clone());
    let removed = Failure::coded(
        Exit::Config,
        Code::NodeRemoved,
        format!(
            "node {} was removed from the cluster: empty its data folder and let it join as a new one",
            identity.node
        ),
    );
    let announced = tokio::spawn(announce(order.folder.clone(), identity, record(&order)?, board.clone()));
    let (order, lock) = (Arc::new(order), Arc::new(lock));
    // The data plane ends first, while the controller still tells others that it does, and the store what it keeps.
    let mut children = Vec::new();
    for kind in kinds.into_iter().rev() {
        // Its keeper alone holds them, so that it can let go of them when nobody will accept any more.
        let listeners = if kind == Kind::Data { std::mem::take(&mut listeners) } else { Vec::new() };
        let (stop, stopped) = watch::channel(Stop::No);
        let (order, lock) = (Arc::clone(&order), Arc::clone(&lock));
        let keeper = Keeper::new(kind, order, lock, listeners, incarnations.clone(), board.clone());
        children.push((stop, tokio::spawn(keeper.run(stopped))));
    }
    let ended = tokio::select! {
        () = signals.next() => Ok(()),
        // Nobody sends calls here any more, and what the data plane knows grows old.
        Removed = told => Err(removed),
    };
    announced.abort();
    match &ended {
        Ok(()) => info!("ending"),
        Err(reason) => {
            error!(%reason, "ending");
            board.alarm(reason.to_string());
        }
    }
    board.ending();
    end(children, signals).await;
    ended
}

/// Ends one child after the other, each with its deadline; at a second signal all at once.
async fn end(children: Vec<(watch::Sender<Stop>, JoinHandle<()>)>, signals: &mut Signals) {
    for (stop, _) in &children {
        stop.send_replace(Stop::NoRestart);
    }
    let mut hurry = false;
    for (stop, ended) in children {
        stop.send_replace(if hurry { Stop::Now } else { Stop::Gently });
        tokio::pin!(ended);
        while !hurry {
            tokio::select! {
                _ = &mut ended => break,
                () = signals.next() => {
                    hurry = true;
                    stop.send_replace(Stop::Now);
                }
            }
        }
        if hurry && !ended.is_finished() {
            // A keeper ends when its child is dead; what became of it is on the board.
            let _ = ended.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_data_folder_that_is_a_file_is_not_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        for path in [file.clone(), file.join("below")] {
            let refused = take_folder(&path).await.unwrap_err();
            assert_eq!(refused.exit, Exit::Config, "{refused}");
            assert!(refused.message.contains("--data-dir"), "{refused}");
        }
    }
}
