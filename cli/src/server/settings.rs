//! What `coracle server` was asked for, checked as a whole: every error is reported at once.

use std::collections::BTreeSet;
use std::path::PathBuf;

use coracle_controller::model::VOTERS_WANTED_DEFAULT;
use coracle_proto::record::Role;

use super::bind::Serves;
use super::{Args, machine};
use crate::config::{Environment, otlp_endpoint};
use crate::exit::Failure;
use crate::ground::{Addresses, Order, Reached, advertised, is_here, is_host};
use crate::telemetry::{Log, Otlp};

/// Longest name of a node, zone or cluster, bytes: they stand in tables.
const NAME_BYTES_MAX: usize = 63;

/// How a node without a cluster gets one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It makes one.
    Bootstrap,
    /// It joins one, through these controllers.
    Join(Vec<String>),
    /// It was not told.
    Unsaid,
}

/// What the node is to do.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How it begins.
    pub(crate) begin: Begin,
    /// Its data.
    pub(crate) folder: PathBuf,
    /// Addresses that were asked for.
    pub(crate) flags: Addresses,
    /// Whether other machines may connect.
    pub(crate) insecure: bool,
    /// Its roles.
    pub(crate) roles: BTreeSet<Role>,
    /// The log.
    pub(crate) log: Log,
    otlp: Option<Otlp>,
    cache: PathBuf,
    name: String,
    zone: String,
    cluster_name: String,
    /// How many controllers a new cluster wants to decide, where it was said.
    pub(crate) voters_wanted: Option<u32>,
    accept_failed_sync: bool,
    advertise: Option<String>,
    runtime_memory: &'static str,
    guests_reach: &'static str,
    guests_memory: u64,
    wasip3: bool,
}

impl Settings {
    /// Checks everything that can be checked without touching the machine.
    pub(crate) fn new(args: Args, environment: &Environment, log: Log) -> Result<Self, Failure> {
        let mut wrong = Vec::new();
        let flags = Addresses {
            grpc: args.grpc,
            admin: args.admin,
            data: args.data,
            http: args.http,
            store: args.store,
        };
        let name = args.name.clone().unwrap_or_else(machine::name);
        for (flag, value) in
            [("--name", &name), ("--cluster-name", &args.cluster_name), ("--zone", &args.zone)]
        {
            let may_be_empty = flag == "--zone";
            if value.len() > NAME_BYTES_MAX
                || value.chars().any(char::is_control)
                || (value.is_empty() && !may_be_empty)
            {
                wrong.push(format!(
                    "{flag}: expected 1 to {NAME_BYTES_MAX} bytes of text, without control characters"
                ));
            }
        }
        wrong.extend(
            args.join
                .iter()
                .filter(|peer| !is_host_and_port(peer))
                .map(|peer| format!("--join: '{peer}' is not HOST:PORT, as in 10.0.0.1:7400")),
        );
        let endpoint = args.otlp.as_deref().map(otlp_endpoint).transpose();
        wrong.extend(endpoint.err().map(|reason| format!("--otlp: {reason}")));
        wrong.extend(args.advertise.iter().filter(|host| !is_host(host)).map(|host| {
            format!("--advertise: '{host}' is no host, as in 10.0.0.1; the ports are those that are bound")
        }));
        let folder = args.data_dir.clone().or_else(|| environment.data_folder.clone());
        if folder.is_none() {
            wrong.push("--data-dir: needed where neither XDG_DATA_HOME nor HOME is set".to_owned());
        }
        if !wrong.is_empty() {
            return Err(Failure::usage(wrong.join("\n       ")));
        }
        let folder = absolute(folder.unwrap_or_default())?;
        let roles: BTreeSet<Role> =
            if args.roles.is_empty() { Role::DEFAULT.into() } else { args.roles.iter().copied().collect() };
        if roles.len() == 1 && roles.contains(&Role::Store) {
            return Err(Failure::usage(
                "--role store: give the node another role beside it, by which the cluster hears of it",
            ));
        }
        let cache = args.cache_dir.clone().map_or_else(|| Ok(folder.join("cache")), absolute)?;
        Ok(Self {
            begin: begin(&args),
            flags,
            insecure: args.insecure,
            roles,
            log,
            otlp: environment.traces.otlp(args.otlp.as_deref()),
            cache,
            folder,
            name,
            zone: args.zone,
            cluster_name: args.cluster_name,
            voters_wanted: args.voters,
            accept_failed_sync: args.accept_failed_sync,
            advertise: args.advertise,
            runtime_memory: args.runtime_memory.name(),
            guests_reach: args.guests_reach.name(),
            guests_memory: args.guests_memory.unwrap_or_else(machine::guest_memory_bytes),
            wasip3: args.enable_wasip3,
        })
    }

    /// Which ports the node serves.
    pub(crate) fn serves(&self) -> Serves {
        let has = |role| self.roles.contains(&role);
        Serves {
            controller: has(Role::Controller),
            data_plane: has(Role::Worker) || has(Role::Gateway),
            gateway: has(Role::Gateway),
            store: has(Role::Store),
        }
    }

    /// Whether those that the node joins could reach it: it would tell them an address that is their own.
    pub(crate) fn may_join(&self, bound: &Addresses) -> Result<(), Failure> {
        let Begin::Join(peers) = &self.begin else { return Ok(()) };
        let grpc = bound.grpc.or(bound.data).filter(|address| address.ip().is_loopback());
        let (Some(address), None) = (grpc, &self.advertise) else { return Ok(()) };
        let Some(peer) = peers.iter().find(|peer| !is_here(peer)) else { return Ok(()) };
        Err(Failure::usage(format!(
            "--join {peer}: the nodes there could not reach this one at {address}; give --insecure if your network \
             protects it, which binds all addresses, or --advertise HOST if something here passes connections on"
        )))
    }

    /// The children's order, but for who the node is.
    pub(crate) fn order(&self, bound: &Addresses) -> Order {
        let peer = match &self.begin {
            Begin::Join(peers) => peers.first().map(String::as_str),
            Begin::Bootstrap | Begin::Unsaid => None,
        };
        let reach = |address: Option<_>| {
            address.map(|address| advertised(address, self.advertise.as_deref(), peer)).unwrap_or_default()
        };
        Order {
            folder: self.folder.clone(),
            cache: self.cache.clone(),
            cluster: String::new(),
            cluster_name: self.cluster_name.clone(),
            node: 0,
            incarnation: 0,
            name: self.name.clone(),
            zone: self.zone.clone(),
            roles: self.roles.iter().map(|role| role.name().to_owned()).collect(),
            founder: false,
            voters_wanted: self.voters_wanted.unwrap_or(VOTERS_WANTED_DEFAULT),
            accept_failed_sync: self.accept_failed_sync,
            reached: Reached {
                grpc: reach(bound.grpc),
                admin: reach(bound.admin),
                data: reach(bound.data),
                http: reach(bound.http),
                store: reach(bound.store),
            },
            grpc: bound.grpc,
            store: bound.store,
            slots: machine::slots(),
            memory_bytes: self.guests_memory,
            controllers: Vec::new(),
            runtime_memory: self.runtime_memory.to_owned(),
            guests_reach: self.guests_reach.to_owned(),
            wasip3: self.wasip3,
            log: self.log.clone(),
            otlp: self.otlp.clone(),
        }
    }
}

fn begin(args: &Args) -> Begin {
    match (args.bootstrap, args.join.is_empty()) {
        (true, _) => Begin::Bootstrap,
        (false, false) => Begin::Join(args.join.clone()),
        (false, true) => Begin::Unsaid,
    }
}

fn is_host_and_port(text: &str) -> bool {
    text.parse::<http::uri::Authority>().is_ok_and(|authority| {
        !authority.host().is_empty() && authority.port_u16().is_some() && !text.contains('@')
    })
}

/// Children may stand elsewhere: paths must not depend on it.
fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(&path).map_err(|error| Failure::local(path.display(), error))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};

    fn settings(line: &str) -> Result<Settings, Failure> {
        let environment = Environment::default();
        match Cli::try_parse_from(line.split(' ')).unwrap().verb {
            Verb::Server(args) => Settings::new(*args, &environment, Log::default()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_error_is_reported_at_once() {
        let error = settings("coracle server --join nowhere --otlp ftp://x").unwrap_err();
        for part in ["--join: 'nowhere'", "--otlp: 'ftp://x'", "--data-dir"] {
            assert!(error.message.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn a_node_that_joins_others_must_be_reached_by_them() {
        let joins = |line: &str, bound: &str| {
            let bound = Addresses { grpc: Some(bound.parse().unwrap()), ..Addresses::default() };
            settings(&format!("coracle server --data-dir /d {line}")).unwrap().may_join(&bound)
        };
        let error = joins("--join 10.0.0.1:7400", "127.0.0.1:7400").unwrap_err();
        assert!(error.message.contains("--insecure") && error.message.contains("--advertise"), "{error}");
        assert!(joins("--join 10.0.0.1:7400 --insecure", "0.0.0.0:7400").is_ok());
        assert!(joins("--join 10.0.0.1:7400 --advertise box", "127.0.0.1:7400").is_ok());
        assert!(joins("--join 127.0.0.1:7410", "127.0.0.1:7400").is_ok());
        let port = settings("coracle server --data-dir /d --bootstrap --advertise box:7400").unwrap_err();
        assert!(port.message.contains("--advertise: 'box:7400' is no host"), "{port}");
    }

    #[test]
    fn a_node_has_all_roles_unless_told() {
        let all = settings("coracle server --data-dir /d --bootstrap").unwrap();
        assert_eq!(all.roles, Role::ALL.into());
        assert!(all.serves().store);
        assert_eq!(all.begin, Begin::Bootstrap);
        let worker = settings("coracle server --data-dir /d --role worker").unwrap();
        assert!(worker.serves().data_plane && !worker.serves().controller && !worker.serves().gateway);
        assert!(!worker.serves().store, "it is told what it is");
        assert_eq!(worker.begin, Begin::Unsaid);
        assert_eq!(worker.order(&Addresses::default()).cache, PathBuf::from("/d/cache"));
    }
}
