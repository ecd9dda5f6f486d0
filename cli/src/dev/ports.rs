//! Which node of `coracle dev` binds what. A port that another program has is found before anything starts.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::{Args, Ports};
use crate::config::{DEFAULTS, DEV_NODES_MAX};
use crate::exit::Failure;
use crate::ground::{Addresses, Port};

/// Who a node is, in its data folder.
const IDENTITY_FILE: &str = "identity";

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// `n1` and so on.
    pub(super) name: String,
    /// Its data.
    pub(super) folder: PathBuf,
    /// What it is told to bind.
    pub(super) addresses: Addresses,
}

impl Plan {
    /// Whether `bound` can be what this node bound: a file of a former run may say something else.
    pub(super) fn is_met_by(&self, bound: &Addresses) -> bool {
        PORTS.into_iter().all(|port| match (self.addresses.get(port), bound.get(port)) {
            (Some(told), Some(bound)) => told.port() == 0 || told == bound,
            (told, bound) => told == bound,
        })
    }
}

const PORTS: [Port; 5] = [Port::Grpc, Port::Admin, Port::Data, Port::Http, Port::Store];

/// All nodes.
pub(super) fn plan(args: &Args, base: &Path) -> Result<Vec<Plan>, Failure> {
    let held = nodes_of(base);
    if held > args.nodes {
        return Err(Failure::usage(format!(
            "{} holds a cluster of {held} nodes, and {} of them may be no quorum: give --nodes {held}, or another folder",
            base.display(),
            args.nodes
        )));
    }
    let plans: Vec<_> = (0..args.nodes).map(|index| one(index, args.ports, base)).collect();
    for plan in &plans {
        for port in PORTS {
            if let Some(address) = plan.addresses.get(port) {
                check(address, &plan.name)?;
            }
        }
    }
    Ok(plans)
}

/// How many nodes a former run left in the folder.
fn nodes_of(base: &Path) -> u16 {
    let is_node = |index: &u16| one(*index, Ports::Free, base).folder.join(IDENTITY_FILE).is_file();
    (0..DEV_NODES_MAX).filter(is_node).max().map_or(0, |last| last + 1)
}

fn one(index: u16, ports: Ports, base: &Path) -> Plan {
    let address = |first: u16, step: u16| {
        let port = match ports {
            Ports::Fixed => first + step * index,
            Ports::Free => 0,
        };
        Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
    };
    let step = DEFAULTS.dev_port_step;
    let name = format!("n{}", index + 1);
    Plan {
        folder: base.join(&name),
        name,
        addresses: Addresses {
            grpc: address(DEFAULTS.grpc_port, step),
            admin: address(DEFAULTS.admin_port, step),
            data: address(DEFAULTS.data_port, step),
            http: address(DEFAULTS.http_port, 1),
            store: address(DEFAULTS.store_port, step),
        },
    }
}

fn check(address: SocketAddr, name: &str) -> Result<(), Failure> {
    TcpListener::bind(address).map(drop).map_err(|error| {
        let port = address.port();
        let reason = match error.kind() {
            std::io::ErrorKind::AddrInUse => "is in use by another program".to_owned(),
            _ => format!("cannot be bound: {error}"),
        };
        Failure::usage(format!(
            "port {port}, of node {name}, {reason}; end that program (is another 'coracle dev' running?), or give --ports free"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_of_the_documentation() {
        let third = one(2, Ports::Fixed, Path::new("/d"));
        let port = |port| third.addresses.get(port).unwrap().port();
        assert_eq!(PORTS.map(port), [7420, 7421, 7422, 8082, 7423]);
        assert_eq!(third.folder, Path::new("/d/n3"));
        assert!(third.is_met_by(&third.addresses));
        assert!(!third.is_met_by(&one(1, Ports::Fixed, Path::new("/d")).addresses), "of another run");
        assert!(one(1, Ports::Free, Path::new("/d")).is_met_by(&third.addresses), "any port will do");
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = check(address, "n2").unwrap_err();
        assert!(
            error.message.contains(&address.port().to_string()) && error.message.contains("n2"),
            "{error}"
        );
    }
}
