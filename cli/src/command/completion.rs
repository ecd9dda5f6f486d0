//! `coracle completion SHELL`.

use clap_complete::Shell;

use crate::exit::Failure;
use crate::output::print;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For which shell; for bash: `coracle completion bash > ~/.local/share/bash-completion/completions/coracle`.
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::args::command(), "coracle", &mut script);
    print(&script)
}
