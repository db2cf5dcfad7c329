//! The command line of the benchmark.

use std::path::PathBuf;

use crate::workload::{WORKLOADS, Workload};

pub(crate) const USAGE: &str = "\
usage: cargo bench --bench peers -- [OPTIONS]

  --quick          a smoke test of under 40 s: few workloads, 1 s, 1 round
  --only C1,S1,…   these workloads alone
  --seconds N      length of one sample (3)
  --rounds N       rounds; contestants take turns within each (3)
  --server PATH    the program under test (the one cargo built)
  --md FILE        write the report as Markdown too
  --list           name the workloads and end";

/// What was asked for.
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) list: bool,
    pub(crate) workloads: Vec<&'static Workload>,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) server: PathBuf,
    pub(crate) markdown: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments after the program's name; the error is a sentence for the person who typed them.
    pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            quick: false,
            list: false,
            workloads: Vec::new(),
            seconds: 0.0,
            rounds: 0,
            server: PathBuf::from(env!("CARGO_BIN_EXE_cgiserve")),
            markdown: None,
        };
        while let Some(flag) = given.next() {
            let mut value = || given.next().ok_or(format!("{flag} needs a value"));
            match flag.as_str() {
                // cargo adds it to every bench.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--list" => options.list = true,
                "--only" => {
                    for name in value()?.split(',') {
                        let found = WORKLOADS.iter().find(|w| w.name.eq_ignore_ascii_case(name));
                        options.workloads.push(found.ok_or(format!("no workload {name:?}; --list names them"))?);
                    }
                }
                "--seconds" => options.seconds = within(&value()?, 0.1, 600.0, "--seconds")?,
                "--rounds" => options.rounds = within(&value()?, 1.0, 100.0, "--rounds")? as usize,
                "--server" => options.server = PathBuf::from(value()?),
                "--md" => options.markdown = Some(PathBuf::from(value()?)),
                _ => return Err(format!("{flag:?} is no option")),
            }
        }
        let (seconds, rounds) = if options.quick { (1.0, 1) } else { (3.0, 3) };
        if options.seconds == 0.0 {
            options.seconds = seconds;
        }
        if options.rounds == 0 {
            options.rounds = rounds;
        }
        if options.workloads.is_empty() {
            options.workloads.extend(WORKLOADS.iter().filter(|w| w.quick || !options.quick));
        }
        Ok(options)
    }
}

fn within(text: &str, least: f64, most: f64, flag: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{flag} takes a number from {least} to {most}, not {text:?}")),
    }
}
