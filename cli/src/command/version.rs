//! `coracle version`.

use serde::Serialize;

use super::Session;
use crate::exit::Failure;
use crate::output::Detail;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
    arch: &'static str,
    os: &'static str,
}

impl Detail for Version {
    fn name(&self) -> String {
        self.version.to_owned()
    }

    fn describe(&self, wide: bool) -> String {
        let platform = if wide { format!(" ({} {})", self.os, self.arch) } else { String::new() };
        format!("coracle {}{platform}\n", self.version)
    }
}

pub(super) fn run(_args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    session.output.one(&Version { version: env!("CARGO_PKG_VERSION"), arch, os })
}
