//! `coracle server`: one node. A small supervisor with up to three children, and the admin server for all of them.

mod announce;
mod bind;
mod doors;
mod incarnation;
mod join;
mod keeper;
pub(crate) mod machine;
mod report;
mod restart;
mod settings;
mod supervisor;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use coracle_controller::model::VOTERS_WANTED_MAX;
use coracle_node::{MemoryMode, Reach};
use coracle_proto::record::Role;

pub(crate) use supervisor::LOCK;

use crate::config::Environment;
use crate::exit::Failure;
use crate::ground::parse_address;
use crate::os::{self, ParentDeath};
use crate::say;
use crate::telemetry::Log;
use crate::units;
use settings::Settings;

/// Where [`Args::guests_memory`] may stand instead.
pub(crate) const GUESTS_MEMORY: &str = "CORACLE_GUESTS_MEMORY";

/// Options of `coracle server`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Make a new cluster with this node as its first; ignored once the node has a cluster.
    #[arg(long, conflicts_with = "join")]
    pub(crate) bootstrap: bool,

    /// Come into the cluster of this controller; several may be given. Ignored once the node has a cluster.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) join: Vec<String>,

    /// Name of a new cluster.
    #[arg(long, value_name = "NAME", default_value = "coracle")]
    pub(crate) cluster_name: String,

    /// How many nodes of a new cluster decide, of those with the role controller: with 3 it goes on without any one of
    /// them, with 5 without any two. Each change waits for a majority [default: 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(VOTERS_WANTED_MAX)))]
    pub(crate) voters: Option<u32>,

    /// Start from a log one of whose syncs has failed. What it had acknowledged may be missing without a trace, and in a
    /// cluster of several nodes others may take that for decided: there, let the node rejoin as a new one instead.
    #[arg(long)]
    pub(crate) accept_failed_sync: bool,

    /// Where the node keeps its data [default: $XDG_DATA_HOME/coracle].
    #[arg(long, value_name = "DIR", env = "CORACLE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Where compiled code lies; nodes on one machine may share it [default: cache, in the data folder].
    #[arg(long, value_name = "DIR", env = "CORACLE_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// The node's name, for people [default: the machine's name].
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// Where the node stands; replicas and voters are spread over zones.
    #[arg(long, default_value = "")]
    pub(crate) zone: String,

    /// What the node does: controller, worker, gateway, store (which keeps values and messages); several may be given
    /// [default: all of them].
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',')]
    pub(crate) roles: Vec<Role>,

    /// API, Raft, watch [default: 127.0.0.1:7400, then what was bound last; port 0 takes any].
    #[arg(long, value_name = "ADDR", value_parser = parse_address, help_heading = "Addresses")]
    pub(crate) grpc: Option<SocketAddr>,

    /// Metrics and health [default: 127.0.0.1:7401].
    #[arg(long, value_name = "ADDR", value_parser = parse_address, help_heading = "Addresses")]
    pub(crate) admin: Option<SocketAddr>,

    /// Calls, artifacts and logs between nodes [default: 127.0.0.1:7402].
    #[arg(long, value_name = "ADDR", value_parser = parse_address, help_heading = "Addresses")]
    pub(crate) data: Option<SocketAddr>,

    /// The HTTP gateway [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", value_parser = parse_address, help_heading = "Addresses")]
    pub(crate) http: Option<SocketAddr>,

    /// Data groups, with the role store [default: 127.0.0.1:7403].
    #[arg(long, value_name = "ADDR", value_parser = parse_address, help_heading = "Addresses")]
    pub(crate) store: Option<SocketAddr>,

    /// Host under which other nodes reach this one [default: the bound address].
    #[arg(long, value_name = "HOST", help_heading = "Addresses")]
    pub(crate) advertise: Option<String>,

    /// Let other machines connect although nothing is encrypted or checked yet; binds 0.0.0.0 by default.
    #[arg(long, help_heading = "Addresses")]
    pub(crate) insecure: bool,

    /// Send traces to this OTLP collector (gRPC) [default: $OTEL_EXPORTER_OTLP_ENDPOINT].
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,

    /// How memory for guests is reserved: auto, pool-scan, pool, on-demand.
    #[arg(long, value_name = "MODE", default_value_t = MemoryMode::Auto, env = "CORACLE_RUNTIME_MEMORY")]
    pub(crate) runtime_memory: MemoryMode,

    /// How far functions' own requests may lead, whatever they were granted: public, private, anywhere.
    #[arg(long, value_name = "REACH", default_value_t = Reach::Private, env = "CORACLE_GUESTS_REACH")]
    pub(crate) guests_reach: Reach,

    /// Memory that functions may have together, such as 8GiB [default: half of the machine's].
    #[arg(long, value_name = "SIZE", value_parser = units::bytes, env = GUESTS_MEMORY)]
    pub(crate) guests_memory: Option<u64>,

    /// Run functions made for WASI 0.3 too: an experiment, with fewer security releases; give it to every node of the cluster.
    #[arg(long, env = "CORACLE_ENABLE_WASIP3")]
    pub(crate) enable_wasip3: bool,

    /// Ends when this process does; for `dev`.
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) parent: Option<u32>,
}

/// Runs the node until it is asked to end.
pub(crate) fn run(args: Args, environment: &Environment, log: Log) -> Result<ExitCode, Failure> {
    if let Some(parent) = args.parent {
        let follows = os::follow_parent(parent, ParentDeath::Terminate);
        if !follows.map_err(|error| Failure::local("cannot follow the parent process", error))? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    let settings = Settings::new(args, environment, log)?;
    environment.traces.complaints.iter().for_each(|complaint| say(&format!("warning: {complaint}")));
    // One thread, the process's first: children follow the life of the thread that forked them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::local("cannot start", error))?;
    runtime.block_on(supervisor::supervise(settings))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::{Cli, Verb};

    fn parse(line: &str) -> Result<super::Args, String> {
        match Cli::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?.verb {
            Verb::Server(args) => Ok(*args),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn options_are_understood() {
        let args = parse("coracle server --join a:1,b:2 --join c:3 --role worker,gateway --grpc 0 --runtime-memory pool-scan").unwrap();
        assert_eq!(args.join, ["a:1", "b:2", "c:3"]);
        assert_eq!(args.roles.len(), 2);
        assert_eq!(args.grpc.unwrap().to_string(), "127.0.0.1:0");
        assert_eq!(args.runtime_memory, super::MemoryMode::PoolScan);
        assert_eq!((args.voters, args.enable_wasip3), (None, false));
        assert!(parse("coracle server --enable-wasip3").unwrap().enable_wasip3);
        assert_eq!(parse("coracle server --bootstrap --voters 5").unwrap().voters, Some(5));
    }

    #[test]
    fn contradictions_and_unknown_words_are_refused() {
        assert!(parse("coracle server --bootstrap --join a:1").unwrap_err().contains("cannot be used with"));
        assert!(
            parse("coracle server --role captain")
                .unwrap_err()
                .contains("controller, worker, gateway or store")
        );
        assert!(parse("coracle server --bootstrap --voters 8").unwrap_err().contains("1..=7"));
        assert!(parse("coracle server --http nowhere").unwrap_err().contains("127.0.0.1:7400"));
    }
}
