//! The processes that are measured: started, ended, and asked what processor time they took.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coracle_tests::{Client, free_port, within};

/// A server that is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// `HOST:PORT`.
    pub(crate) address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts what `command` makes for an address, and waits until it answers.
    pub(crate) async fn start(what: &str, command: impl FnOnce(&str) -> Command) -> Self {
        let server = Self::spawn(command);
        let client = Client::new(Duration::from_secs(1));
        let url = format!("http://{}/", server.address);
        within(Duration::from_secs(60), &format!("{what} answers"), async || client.get(&url).await).await;
        server
    }

    /// Starts one that does not speak HTTP/1, and waits until it can be connected to.
    pub(crate) async fn start_silent(what: &str, command: impl FnOnce(&str) -> Command) -> Self {
        let server = Self::spawn(command);
        let connect =
            async || tokio::net::TcpStream::connect(&server.address).await.map_err(|error| error.to_string());
        within(Duration::from_secs(60), &format!("{what} listens"), connect).await;
        server
    }

    fn spawn(command: impl FnOnce(&str) -> Command) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let child = command(&address).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self { child: child.expect("the server starts"), address }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }
}

/// Processor time that processes have taken so far, all their threads, in the kernel and outside.
pub(crate) fn processor_time(pids: &[i32]) -> Duration {
    /// `USER_HZ`, which Linux has fixed for what it tells.
    const TICKS_A_SECOND: u64 = 100;
    let ticks = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs");
        // The name, field 2, stands in brackets and may hold anything; user and system time are fields 14 and 15.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum::<u64>()
    };
    Duration::from_secs(1) * u32::try_from(pids.iter().map(ticks).sum::<u64>()).expect("less than a year")
        / u32::try_from(TICKS_A_SECOND).expect("a hundred")
}
