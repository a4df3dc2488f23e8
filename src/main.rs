//! The program: reads the command line, calls one command, prints the error.

mod commands;
mod report;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use commands::{Command, Failure};

/// Trains and runs small convolutional networks, every layer written out longhand.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "Train the tutorial's network on MNIST: longhand train"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let started = Instant::now();
    match CommandLine::parse().command.run(started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Failed(error)) => {
            report::note(format_args!("error: {error}"));
            ExitCode::from(1)
        }
        Err(Failure::Reported) => ExitCode::from(1),
        Err(Failure::Usage(error)) => {
            report::note(format_args!("error: {error}"));
            ExitCode::from(2)
        }
        Err(Failure::Interrupted(message)) => {
            report::note(format_args!("{message}"));
            ExitCode::from(130)
        }
    }
}
