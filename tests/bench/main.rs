//! The project's benchmark: our server beside its peers and beside the floors, all in one run.
//!
//! `cargo bench --bench peers -- --help` tells the options. Contestants are started here on free ports of the loopback
//! address, take turns round by round, and are ended here. A figure stands for this machine and this run; what carries
//! over is the ratio between two contestants of the same round. Nothing is judged: the exit status is 0 unless
//! something could not run or answered wrongly (1), or the arguments are unusable (2).

mod floor;
mod http;
mod measure;
mod options;
mod packages;
mod peers;
mod proc;
mod server;
mod table;
mod transfer;
mod tree;
mod websocket;
mod workload;
mod wrk;

use std::{env, fs, process, process::ExitCode, thread};

use measure::Entrant;
use options::{Options, USAGE};
use peers::{Ground, Trouble};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tree::Tree;
use workload::{WORKLOADS, Who, Workload};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [hidden, port] = arguments.as_slice()
        && hidden == floor::HIDDEN
    {
        let Err(problem) = floor::serve(port);
        eprintln!("floor: {problem}");
        return ExitCode::FAILURE;
    }
    if arguments.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(arguments.into_iter()) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.list {
        for workload in WORKLOADS {
            let who: Vec<&str> = workload.who.iter().map(|who| who.label()).collect();
            println!("{:5} {} [{}]", workload.name, workload.title, who.join(", "));
        }
        return ExitCode::SUCCESS;
    }
    match bench(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("could not run: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for; false if something could not run.
fn bench(options: &Options) -> Result<bool, String> {
    packages::provide(&options.workloads);
    let tree = Tree::make()?;
    end_when_interrupted(&tree)?;
    let ground = Ground { tree: &tree, ours: &options.server, files: raise_descriptors() };
    let mut report = heading(options, ground.files);
    print!("{report}");
    let (mut verdicts, mut problems) = (Vec::new(), Vec::new());
    for workload in &options.workloads {
        let entrants = measure::run(workload, &ground, options);
        let (text, judged) = table::section(workload, &entrants);
        print!("{text}");
        report.push_str(&text);
        verdicts.extend(judged);
        problems.extend(entrants.iter().filter_map(|entrant| problem(workload, entrant)));
    }
    let mut end = table::summary(&verdicts);
    for problem in &problems {
        end.push_str(&format!("\nCOULD NOT RUN OR ANSWERED WRONGLY: {problem}"));
    }
    println!("{end}");
    if let Some(path) = &options.markdown {
        fs::write(path, report + &end + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(problems.is_empty())
}

/// What must not pass silently. A peer that is not installed is only told, because a comparison is still left.
fn problem(workload: &Workload, entrant: &Entrant) -> Option<String> {
    let name = format!("{} {}", workload.name, entrant.who.label());
    match &entrant.trouble {
        Some(Trouble::Failed(why)) => return Some(format!("{name}: {why}")),
        Some(Trouble::Missing(_) | Trouble::NotBuilt(_)) | None => {}
    }
    let errors: u64 = entrant.samples.iter().map(|sample| sample.errors).sum();
    // A peer's errors stand in its row; ours are a fault.
    (entrant.who == Who::Ours && errors > 0).then(|| format!("{name}: {errors} requests failed"))
}

fn heading(options: &Options, files: u64) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "## cgiserve and its peers\n\n{cores} cores, Linux {}, {files} descriptors, {} rounds of {} s, loopback; load \
         generator and servers share the cores.\n\n",
        kernel.trim(),
        options.rounds,
        options.seconds,
    )
}

/// As many descriptors as the machine gives, for us and for everybody we start.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    // "Unlimited" would make servers that size tables by it run out of memory.
    now.unwrap_or(1 << 20).clamp(1024, 1 << 20)
}

/// On Ctrl-C or TERM nothing of ours stays behind: destructors do not run then.
fn end_when_interrupted(tree: &Tree) -> Result<(), String> {
    let root = tree.root().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    thread::spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            if let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
                tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                server::end_all_below(process::id());
                // A leftover tree is a nuisance and no error.
                let _ = fs::remove_dir_all(&root);
                process::exit(130);
            }
        });
    });
    Ok(())
}
