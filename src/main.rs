//! Flags, configuration, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use cgiserve::cli::{Action, Cli};
use cgiserve::{config, server};
use clap::Parser;

fn main() -> ExitCode {
    let flags = match Cli::parse().action() {
        Action::Serve(flags) => flags,
        Action::Print(text) => {
            let printed = std::io::stdout().write_all(&text);
            return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    let config = match config::resolve(&flags) {
        Ok(config) => config,
        Err(problems) => {
            let _ = writeln!(std::io::stderr(), "{problems}");
            return ExitCode::from(2);
        }
    };
    match server::run(*flags, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            match error {
                server::Error::Config(_) => ExitCode::from(2),
                server::Error::System(_) => ExitCode::FAILURE,
            }
        }
    }
}
