//! The command line: one variant for each verb.

use clap::{Parser, Subcommand};

use crate::config::LogFormat;

/// A self-hosted serverless cluster in one binary.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to log: a level, or filters such as `info,coracle_node=debug`.
    #[arg(long, global = true, value_name = "FILTER", env = "CORACLE_LOG", help_heading = "Logging")]
    pub(crate) log: Option<String>,

    /// How log lines look.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "CORACLE_LOG_FORMAT",
        help_heading = "Logging"
    )]
    pub(crate) log_format: Option<LogFormat>,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a cluster on this machine: for development, for a first look.
    Dev(Box<crate::dev::Args>),
    /// Run a node.
    Server(Box<crate::server::Args>),
    #[command(flatten)]
    Client(crate::command::Verb),
    #[command(name = crate::children::CONTROLLER, hide = true)]
    Controller(crate::children::Args),
    #[command(name = crate::children::DATA_PLANE, hide = true)]
    DataPlane(crate::children::Args),
    #[command(name = crate::children::COMPILE, hide = true)]
    Compile(crate::children::CompileArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
