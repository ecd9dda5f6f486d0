//! `coracle completion SHELL`.

use clap::Command;
use clap_complete::Shell;

use crate::exit::Failure;
use crate::output::print;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which shell; for bash: `coracle completion bash > ~/.local/share/bash-completion/completions/coracle`.
    shell: Shell,
}

/// Of what `definition` defines.
pub(super) fn run(args: &Args, definition: &Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(definition), "coracle", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Without the verbs of children, which are nobody's to type: the generators would offer them.
fn visible(command: &Command) -> Command {
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    Command::new("coracle").args(command.get_arguments()).subcommands(verbs)
}
