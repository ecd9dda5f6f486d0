//! The command line: one variant for each verb.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::command::Shared;
use crate::telemetry::LogFormat;

/// Verbs that ask no cluster: what all clients understand has no meaning there.
const DAEMONS: [&str; 2] = ["dev", "server"];

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

    #[command(flatten)]
    pub(crate) shared: Shared,

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
    #[command(name = crate::children::STORE, hide = true)]
    Store(crate::children::Args),
    #[command(name = crate::children::DATA_PLANE, hide = true)]
    DataPlane(crate::children::Args),
    #[command(name = crate::children::COMPILE, hide = true)]
    Compile(crate::children::CompileArgs),
}

/// The definition. Daemons do not show what only clients understand.
pub(crate) fn command() -> Command {
    let shared = Shared::augment_args(Command::new("shared"));
    let hidden = |verb: Command| verb.args(shared.get_arguments().map(|arg| arg.clone().hide(true)));
    DAEMONS.iter().fold(Cli::command(), |command, verb| command.mut_subcommand(verb, hidden))
}

/// Reads a command line.
pub(crate) fn parse(
    words: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
) -> clap::error::Result<Cli> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(words)?;
    if let Some(misplaced) = misplaced(&matches, &command) {
        return Err(command.error(clap::error::ErrorKind::UnknownArgument, misplaced));
    }
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// A client's option that a daemon was given: it would be taken for something else and do nothing.
fn misplaced(matches: &ArgMatches, command: &Command) -> Option<String> {
    let (verb, matches) = matches.subcommand().filter(|(verb, _)| DAEMONS.contains(verb))?;
    let shared = Shared::augment_args(Command::new("shared"));
    let given = |id: &str| {
        matches.try_contains_id(id).is_ok() && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let flag = shared.get_arguments().find(|arg| given(arg.get_id().as_str()))?.get_long()?;
    let name = command.get_name();
    Some(format!("--{flag} is for commands that ask a cluster; '{name} {verb} --help' shows what it takes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> String {
        parse(line.split(' ')).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn what_clients_understand_stands_before_the_verb_or_after_it() {
        for line in [
            "coracle --address a:1 -o json function list",
            "coracle function --address a:1 -o json list",
            "coracle function list --address a:1 -o json",
            "coracle --address a:1 function list -o json",
        ] {
            let shared = format!("{:?}", parse(line.split(' ')).unwrap().shared);
            assert!(shared.contains("a:1") && shared.contains("Json"), "{line}: {shared}");
        }
    }

    #[test]
    fn daemons_refuse_what_is_for_clients() {
        for line in
            ["coracle server --bootstrap --address a:1", "coracle --address a:1 dev", "coracle dev -y"]
        {
            assert!(error(line).contains("is for commands that ask a cluster"), "{line}: {}", error(line));
        }
        let help = command().find_subcommand_mut("server").unwrap().render_long_help().to_string();
        assert!(help.contains("--bootstrap") && !help.contains("--address"), "{help}");
        assert!(parse(["coracle", "server", "--bootstrap"]).is_ok());
    }
}
