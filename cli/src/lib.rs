//! The program `coracle`: the daemon (`server`, `dev`) and every client verb.
//!
//! `args` says what can be asked for; each verb's module does it. What a verb fails with is a
//! [`exit::Failure`], said here once, with a fixed exit code.

mod address;
mod admin;
mod args;
mod children;
mod client;
mod command;
mod config;
mod dev;
mod exit;
mod ground;
mod http;
mod manifest;
mod os;
mod output;
mod server;
mod telemetry;
mod units;

use std::process::ExitCode;

use crate::args::{Cli, Verb};
use crate::config::Environment;
use crate::exit::{Exit, Failure};
use crate::output::door;
pub(crate) use crate::output::say;

/// Every call and every change allocates some tens of times, which took a seventh of the time with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("coracle runs on Linux on x86-64 and aarch64 only");

/// Everything that the program does, from its arguments to its exit code.
#[must_use]
pub fn main_entry() -> ExitCode {
    os::use_small_pages();
    let cli = match args::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    match run(cli) {
        Ok(code) => code,
        Err(failure) if failure.exit == Exit::Ok => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}"));
            failure.exit.into()
        }
    }
}

/// Help and version are what was asked for; everything else is a usage error, which is 1 here and not clap's 2.
fn explain(error: &clap::Error) -> ExitCode {
    door::usage(error);
    if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let environment = Environment::read();
    let log = telemetry::Log { filter: cli.log, format: cli.log_format.unwrap_or_default() };
    match cli.verb {
        Verb::Server(args) => server::run(*args, &environment, log),
        Verb::Dev(args) => dev::run(*args, &environment, log),
        Verb::Client(verb) => command::run(verb, &cli.shared, &environment, log, args::command),
        Verb::Controller(args) => Ok(children::controller(&args)),
        Verb::Store(args) => Ok(children::store(&args)),
        Verb::DataPlane(args) => Ok(children::data_plane(&args)),
        Verb::Compile(args) => Ok(children::compile(args)),
    }
}
