//! The ports of a child while it is away: for a moment connections wait, for longer they are refused.

use std::io;
use std::net::{SocketAddr, TcpListener};

use tokio::net::TcpSocket;

use super::bind::{bound, listening};

/// Listening sockets that outlive the child that accepts.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: Vec<TcpListener>,
    shut: Vec<Shut>,
}

/// A port where nobody listens.
#[derive(Debug)]
struct Shut {
    address: SocketAddr,
    /// Keeps the kernel from giving the port to another.
    held: Option<TcpSocket>,
}

impl Doors {
    /// Doors that are open.
    pub(super) const fn new(open: Vec<TcpListener>) -> Self {
        Self { open, shut: Vec::new() }
    }

    /// What a child is handed.
    pub(super) fn listeners(&self) -> &[TcpListener] {
        &self.open
    }

    /// Refuses connections from now on, those that wait too, and keeps the ports.
    pub(super) fn shut(&mut self) {
        for listener in std::mem::take(&mut self.open) {
            let Ok(address) = listener.local_addr() else { continue };
            drop(listener);
            // Where somebody else was faster the port is tried again when it is opened.
            self.shut.push(Shut { address, held: bound(address).ok() });
        }
    }

    /// Listens again. Call it inside a runtime.
    ///
    /// # Errors
    /// When somebody else has a port now; it is tried again the next time.
    pub(super) fn open(&mut self) -> io::Result<()> {
        while let Some(Shut { address, held }) = self.shut.first_mut() {
            let socket = held.take().map_or_else(|| bound(*address), Ok)?;
            self.open.push(listening(socket)?);
            self.shut.remove(0);
        }
        Ok(())
    }

    /// Gives the ports up.
    pub(super) fn close(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_refused_when_the_doors_shut_and_they_open_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut doors = Doors::new(vec![listener]);
        let mut waiting = TcpStream::connect(address).expect("the kernel takes it");
        doors.shut();
        assert!(doors.listeners().is_empty());
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let reset = io::Read::read(&mut waiting, &mut [0]).unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
        doors.open().unwrap();
        assert_eq!(
            doors.listeners().iter().map(|it| it.local_addr().unwrap()).collect::<Vec<_>>(),
            [address]
        );
        TcpStream::connect(address).expect("the same port again");
        doors.close();
        TcpStream::connect(address).unwrap_err();
    }
}
