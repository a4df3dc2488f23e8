//! `longhand completions`: a script that completes commands and flags in a shell.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::Failure;
use crate::CommandLine;
use crate::report::drawn;

#[derive(clap::Args)]
pub struct Args {
    /// The shell, as in: eval "$(longhand completions bash)"
    shell: Shell,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    generate(
        args.shell,
        &mut CommandLine::command(),
        env!("CARGO_PKG_NAME"),
        &mut script,
    );
    drawn(String::from_utf8(script)?.trim_end())?;
    Ok(())
}
