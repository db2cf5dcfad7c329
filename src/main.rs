//! Flags, configuration, run, exit code.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use cgiserve::cli::{Action, Cli};
use cgiserve::spawner::Nursery;
use cgiserve::{check, config, server, websocketd};
use clap::Parser;

fn main() -> ExitCode {
    // First of all: this program may have been executed to replace a part of a server that runs.
    let proof = Nursery::answer_call();
    let (mut flags, config) = match Cli::parse().action() {
        Action::Serve(flags) => {
            let config = config::resolve(&flags);
            (flags, config)
        }
        Action::WebSocketd(arguments) => match websocketd::read(&arguments) {
            Ok(websocketd::Meaning { text, flags }) => {
                let config = config::resolve_text(&flags, "command line", &text);
                (Box::new(flags), config)
            }
            Err(websocketd::Refusal::Help) => {
                let _ = write!(std::io::stdout(), "{}", websocketd::HELP);
                return ExitCode::SUCCESS;
            }
            Err(websocketd::Refusal::Wrong(why)) => {
                let _ = writeln!(std::io::stderr(), "cgiserve ws: {why}\nSee cgiserve ws --help");
                return ExitCode::from(2);
            }
        },
        Action::Config(flags) => {
            return match config::resolve(&flags) {
                Ok(config) => {
                    let _ = write!(std::io::stdout(), "{}", config::show(&flags, &config));
                    ExitCode::SUCCESS
                }
                Err(problems) => {
                    let _ = writeln!(std::io::stderr(), "{problems}");
                    ExitCode::from(2)
                }
            };
        }
        Action::Check(check) => return check.perform(),
        Action::Run(run) => return run.perform(),
        Action::Env(env) => return env.perform(),
        Action::Convert(convert) => return convert.perform(),
        Action::New(new) => return new.perform(),
        Action::Why(why) => return why.perform(),
        Action::Print(text) => {
            let printed = std::io::stdout().write_all(&text);
            return if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    let config = match config {
        Ok(config) => config,
        Err(problems) => {
            let _ = writeln!(std::io::stderr(), "{problems}");
            return ExitCode::from(2);
        }
    };
    if std::io::stdout().is_terminal() {
        flags.greeting = check::greeting(&config);
    }
    match server::run(*flags, config, &proof) {
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
