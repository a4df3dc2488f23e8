//! `longhand man`: the program's manual page, or a command's.

use clap::CommandFactory;
use clap_mangen::Man;

use super::Failure;
use crate::CommandLine;
use crate::report::drawn;

#[derive(clap::Args)]
pub struct Args {
    /// The command whose page it is, as in: longhand man train | man -l - [default: the program's
    /// own page]
    command: Option<String>,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut program = CommandLine::command();
    let command = match &args.command {
        None => program,
        Some(name) => {
            let names: Vec<String> = program
                .get_subcommands()
                .map(|command| command.get_name().to_owned())
                .collect();
            // Names a subcommand in full, as in `longhand train`.
            program.build();
            let command = program.find_subcommand(name).cloned();
            command.ok_or_else(|| {
                let names = names.join(", ");
                Failure::Usage(format!("no command is called `{name}`: there are {names}"))
            })?
        }
    };
    let mut page = Vec::new();
    let program = concat!("longhand ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(program).render(&mut page)?;
    drawn(String::from_utf8(page)?.trim_end())?;
    Ok(())
}
