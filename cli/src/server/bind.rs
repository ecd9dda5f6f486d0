//! Binds a node's ports. Those of the data plane and 7401 listen from now on; 7400 and 7403 are only held: controller and
//! store listen themselves, so that their end is refused connections, which others take as a sign.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tokio::net::TcpSocket;
use tracing::warn;

use crate::exit::{Exit, Failure};
use crate::ground::{Addresses, Port};

/// Connections that wait in the kernel while a data plane is started again.
const BACKLOG: u32 = 1024;

/// Which ports a node serves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Serves {
    /// It has a controller.
    pub(crate) controller: bool,
    /// It has a worker or a gateway.
    pub(crate) data_plane: bool,
    /// It has a gateway.
    pub(crate) gateway: bool,
    /// It has a store.
    pub(crate) store: bool,
}

/// The sockets of a node. They are the same over all restarts of its children.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// What is bound.
    pub(crate) addresses: Addresses,
    /// For the supervisor itself.
    pub(crate) admin: TcpListener,
    /// For the data plane, if there is one.
    pub(crate) data: Option<TcpListener>,
    /// For the gateway, if there is one.
    pub(crate) http: Option<TcpListener>,
    /// Bound, not listening, for as long as the supervisor runs: the kernel gives 7400 and 7403 to no other while nobody
    /// listens there.
    pub(crate) held: Vec<TcpSocket>,
}

/// Binds what the node serves and keeps the addresses. Call it inside a runtime.
pub(crate) fn bind(
    folder: &Path,
    flags: &Addresses,
    serves: Serves,
    insecure: bool,
) -> Result<Sockets, Failure> {
    let stored = stored(folder, flags, serves)?;
    let open = |port, served: bool| -> Result<Option<TcpSocket>, Failure> {
        if !served {
            return Ok(None);
        }
        hold(port, Addresses::choose(port, flags, &stored, insecure)?).map(Some)
    };
    let grpc = open(Port::Grpc, serves.controller)?;
    let admin = open(Port::Admin, true)?;
    let data = open(Port::Data, serves.data_plane)?;
    let http = open(Port::Http, serves.gateway)?;
    let store = open(Port::Store, serves.store)?;
    let address = |socket: Option<&TcpSocket>| socket.and_then(|socket| socket.local_addr().ok());
    let addresses = Addresses {
        grpc: address(grpc.as_ref()),
        admin: address(admin.as_ref()),
        data: address(data.as_ref()),
        http: address(http.as_ref()),
        store: address(store.as_ref()),
    };
    let admin = listen(Port::Admin, admin)?.ok_or_else(|| Failure::local("--admin", "not bound"))?;
    let (data, http) = (listen(Port::Data, data)?, listen(Port::Http, http)?);
    let sockets = Sockets { addresses, admin, data, http, held: grpc.into_iter().chain(store).collect() };
    addresses.save(folder)?;
    Ok(sockets)
}

/// What was bound last; a file that cannot be read is needed only where no flag says the same.
fn stored(folder: &Path, flags: &Addresses, serves: Serves) -> Result<Addresses, Failure> {
    let said = |port, served: bool| !served || flags.get(port).is_some_and(|flag| flag.port() != 0);
    let all_said = said(Port::Grpc, serves.controller)
        && said(Port::Admin, true)
        && said(Port::Data, serves.data_plane)
        && said(Port::Http, serves.gateway)
        && said(Port::Store, serves.store);
    match Addresses::load(folder) {
        Err(reason) if all_said => {
            warn!(%reason, "the flags name every address: the file is written anew");
            Ok(Addresses::default())
        }
        other => other,
    }
}

fn hold(port: Port, address: SocketAddr) -> Result<TcpSocket, Failure> {
    bound(address).map_err(|error| refused(port, address, &error))
}

/// A port that is kept from others while nobody listens there.
pub(super) fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that the controller can bind what is only held here, and a restarted node what it just left.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Listens at a port that was kept. Call it inside a runtime.
pub(super) fn listening(socket: TcpSocket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG).and_then(tokio::net::TcpListener::into_std)
}

fn listen(port: Port, socket: Option<TcpSocket>) -> Result<Option<TcpListener>, Failure> {
    let Some(socket) = socket else { return Ok(None) };
    let address = socket.local_addr().map_err(|error| Failure::local(port.flag(), error))?;
    listening(socket).map(Some).map_err(|error| refused(port, address, &error))
}

fn refused(port: Port, address: SocketAddr, error: &std::io::Error) -> Failure {
    let flag = port.flag();
    let message = match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "port {} is in use ({address}): another program listens there; end it, or choose another port with {flag}",
            address.port()
        ),
        _ => format!("cannot listen on {address} ({flag}): {error}"),
    };
    Failure::new(Exit::Usage, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Serves = Serves { controller: true, data_plane: true, gateway: true, store: true };

    fn any_port() -> Addresses {
        let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        Addresses { grpc: any, admin: any, data: any, http: any, store: any }
    }

    #[tokio::test]
    async fn a_node_keeps_its_ports() {
        let folder = tempfile::tempdir().unwrap();
        let first = bind(folder.path(), &any_port(), ALL, false).unwrap().addresses;
        let all = [first.grpc, first.admin, first.data, first.http, first.store];
        assert!(all.iter().all(|it| it.unwrap().port() > 0));
        assert_eq!(bind(folder.path(), &any_port(), ALL, false).unwrap().addresses, first);
    }

    #[tokio::test]
    async fn a_damaged_file_of_addresses_is_named_unless_flags_say_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let first = bind(folder.path(), &any_port(), ALL, false).unwrap().addresses;
        let file = folder.path().join(crate::ground::ADDRESSES_FILE);
        for damage in [&b"grpc = \"127."[..], b"\xff\xfe"] {
            std::fs::write(&file, damage).unwrap();
            let refused = bind(folder.path(), &any_port(), ALL, false).unwrap_err();
            assert_eq!(refused.exit, Exit::Config, "{refused}");
            assert!(refused.message.contains(file.to_str().unwrap()), "{refused}");
            assert!(refused.message.contains("remove it and start the node"), "{refused}");
            assert_eq!(bind(folder.path(), &first, ALL, false).unwrap().addresses, first);
            assert_eq!(Addresses::load(folder.path()).unwrap(), first, "written anew");
        }
    }

    #[tokio::test]
    async fn a_held_port_refuses_others_connections_and_admits_the_controller() {
        let folder = tempfile::tempdir().unwrap();
        let sockets = bind(folder.path(), &any_port(), ALL, false).unwrap();
        let grpc = sockets.addresses.grpc.unwrap();
        let refused = std::net::TcpStream::connect(grpc).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let controller = TcpListener::bind(grpc).expect("the controller may listen");
        std::net::TcpStream::connect(grpc).expect("and is reached");
        drop(controller);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_flag() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let flags = Addresses { data: Some(address), ..any_port() };
        let error = bind(folder.path(), &flags, ALL, false).unwrap_err();
        assert!(
            error.message.contains(&address.port().to_string()) && error.message.contains("--data"),
            "{error}"
        );
        assert_eq!(error.exit, Exit::Usage);
    }

    #[tokio::test]
    async fn a_role_that_is_lacking_binds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let serves = Serves { controller: false, data_plane: true, gateway: false, store: false };
        let sockets = bind(folder.path(), &any_port(), serves, false).unwrap();
        assert!(sockets.addresses.grpc.is_none() && sockets.http.is_none() && sockets.data.is_some());
    }
}
