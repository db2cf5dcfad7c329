//! Finds the programs that a run needs; as root it installs what is missing, otherwise it names it in one line.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::workload::{Kind, Requests, Who, Workload};

/// Debian's word for "start no service"; asked by every package's installation script.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Where a program lies: in `PATH`, or where Debian keeps servers.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

/// Does the workload run scripts?
pub(crate) fn runs_scripts(workload: &Workload) -> bool {
    match &workload.kind {
        Kind::Requests(Requests { path, .. }) | Kind::Download { path, .. } => path.starts_with("/cgi-bin/"),
        Kind::Upload { .. } => true,
        Kind::Memory { .. } | Kind::Echo { .. } | Kind::EchoMemory { .. } => false,
    }
}

/// Sees to it that the programs of these workloads are there. What cannot be had is said once on stderr, and again in
/// every table that misses it.
pub(crate) fn provide(workloads: &[&Workload]) {
    let mut wanted = vec![("gcc", "gcc libc6-dev"), ("musl-gcc", "musl-tools")];
    for workload in workloads {
        if matches!(workload.kind, Kind::Requests(_)) {
            wanted.push(("wrk", "wrk"));
        }
        for who in workload.who {
            match who {
                Who::Nginx => {
                    wanted.push(("nginx", "nginx-light"));
                    if runs_scripts(workload) {
                        wanted.push(("fcgiwrap", "fcgiwrap"));
                    }
                }
                Who::Lighttpd => wanted.push(("lighttpd", "lighttpd")),
                Who::Apache => wanted.push(("apache2", "apache2")),
                Who::Go => wanted.push(("go", "golang-go")),
                Who::Websocketd => wanted.push(("websocketd", "websocketd")),
                Who::Ours | Who::Hyper | Who::SpawnLoop => {}
            }
        }
    }
    let mut packages: Vec<&str> =
        wanted.into_iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| package).collect();
    packages.sort_unstable();
    packages.dedup();
    let names = packages.join(" ");
    if packages.is_empty() {
        return;
    }
    if !rustix::process::geteuid().is_root() || find("apt-get").is_none() {
        eprintln!("MISSING, to be had by: apt-get install --no-install-recommends {names}");
        return;
    }
    eprintln!("installing {names}");
    if let Err(problem) = install(&names) {
        eprintln!("MISSING {names}: {problem}");
    }
}

fn install(names: &str) -> Result<(), String> {
    // An installed server must not start; where the machine has no such rule yet, one stands during the installation.
    let made = !Path::new(POLICY).exists();
    if made {
        fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
            .map_err(|e| format!("{POLICY}: {e}"))?;
    }
    let apt = |arguments: &[&str]| {
        Command::new("apt-get")
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(names.split(' '));
    let done = apt(&arguments) || (apt(&["update", "-qq"]) && apt(&arguments));
    if made {
        // Ours alone: it was not there before.
        let _ = fs::remove_file(POLICY);
    }
    if done { Ok(()) } else { Err("apt-get failed".into()) }
}
