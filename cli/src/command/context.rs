//! `coracle context list|use`: clusters by name, and which one is meant where none is named.

use clap::Subcommand;
use serde::Serialize;

use super::Session;
use crate::client::context;
use crate::exit::Failure;
use crate::output::Row;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List all contexts.
    List,
    /// Make a context the current one.
    Use {
        /// Its name in contexts.toml.
        name: String,
    },
}

#[derive(Debug, Serialize)]
struct ContextView {
    name: String,
    current: bool,
    addresses: Vec<String>,
}

impl Row for ContextView {
    const COLUMNS: &'static [&'static str] = &["NAME", "CURRENT", "ADDRESSES"];
    const WIDE_FROM: usize = 3;

    fn cells(&self) -> Vec<String> {
        let current = if self.current { "yes" } else { "" };
        vec![self.name.clone(), current.to_owned(), self.addresses.join(" ")]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

pub(super) fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    let folder = session.environment.config_folder.as_deref();
    match &args.verb {
        Verb::List => {
            let contexts = context::read(folder)?;
            let view = |(name, addresses, current): (&str, &[String], bool)| ContextView {
                name: name.to_owned(),
                current,
                addresses: addresses.to_vec(),
            };
            session.output.list(&contexts.iter().map(view).collect::<Vec<_>>())
        }
        Verb::Use { name } => {
            let missing =
                || Failure::usage("there is no folder for contexts: neither XDG_CONFIG_HOME nor HOME is set");
            context::choose(folder.ok_or_else(missing)?, name)?;
            session
                .talk
                .say(session.talk.done(&format!("commands go to the cluster of '{name}' from now on")));
            Ok(())
        }
    }
}
