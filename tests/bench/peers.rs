//! How each contestant is started: minimal, fair, and with as many descriptors as the machine gives.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    floor, packages,
    server::{Server, listens},
    tree::{self, Tree},
    workload::{Kind, Who, Workload},
};

/// Why somebody does not take part.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// Its program is not on this machine.
    Missing(String),
    /// Our server does not have what the workload asks for.
    NotBuilt(String),
    /// It was started or asked and did the wrong thing.
    Failed(String),
}

impl From<String> for Trouble {
    fn from(text: String) -> Trouble {
        Trouble::Failed(text)
    }
}

/// Where peers and our server find what they serve.
pub(crate) struct Ground<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) ours: &'a Path,
    /// Descriptors that one process may have.
    pub(crate) files: u64,
}

impl Who {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Who::Ours => "cgiserve",
            Who::Nginx => "nginx",
            Who::Lighttpd => "lighttpd",
            Who::Apache => "apache mod_cgid",
            Who::Go => "go net/http/cgi",
            Who::Websocketd => "websocketd",
            Who::Hyper => "floor: bare hyper",
            Who::SpawnLoop => "floor: vfork loop",
        }
    }
}

/// Starts a contestant as the workload needs it and waits until it listens.
pub(crate) fn start(who: Who, ground: &Ground, workload: &Workload) -> Result<Server, Trouble> {
    let mut server = Server::new(who)?;
    let port = server.address.port().to_string();
    let site = ground.tree.site.as_path();
    let run = run_folder(ground.tree)?;
    let log = run.join("log");
    let conf = run.join("conf");
    let write_conf = |template: &str| {
        let text = fill(template, ground, &port, &run);
        fs::write(&conf, text).map_err(|e| format!("{}: {e}", conf.display()))
    };
    let mut command = match who {
        Who::Ours => {
            // Each WebSocket is a running script, and the default allows a few dozen of them at once.
            let sockets = matches!(workload.kind, Kind::Echo { .. } | Kind::EchoMemory { .. });
            let running = if sockets { "max-running = 1000" } else { "" };
            write_conf(&include_str!("peers/cgiserve.toml").replace("@RUNNING@", running))?;
            let mut command = Command::new(ground.ours);
            command.arg("--config").arg(&conf).arg("--directory").arg(site).args(["--bind", "127.0.0.1", &port]);
            command
        }
        Who::Nginx => {
            write_conf(include_str!("peers/nginx.conf"))?;
            if packages::runs_scripts(workload) {
                let socket = run.join("fcgiwrap");
                let mut wrap = Command::new(program("fcgiwrap")?);
                wrap.args(["-c", "16", "-s", &format!("unix:{}", socket.display())]);
                server.launch(&mut wrap, &log)?;
                server.wait_until(&log, |_| socket.exists())?;
                fs::set_permissions(&socket, fs::Permissions::from_mode(0o777))
                    .map_err(|e| format!("fcgiwrap: {e}"))?;
            }
            let mut command = Command::new(program("nginx")?);
            command.arg("-c").arg(&conf).arg("-p").arg(&run).args(["-e", "stderr", "-g", "daemon off;"]);
            command
        }
        Who::Lighttpd => {
            write_conf(include_str!("peers/lighttpd.conf"))?;
            let mut command = Command::new(program("lighttpd")?);
            command.arg("-D").arg("-f").arg(&conf);
            command
        }
        Who::Apache => {
            write_conf(include_str!("peers/apache.conf"))?;
            let mut command = Command::new(program("apache2")?);
            command.arg("-f").arg(&conf).arg("-DFOREGROUND");
            command
        }
        Who::Go => {
            let mut command = Command::new(build_go()?);
            command.arg(format!("127.0.0.1:{port}")).arg(site);
            command
        }
        Who::Websocketd => {
            let mut command = Command::new(program("websocketd")?);
            command.args(["--address=127.0.0.1", &format!("--port={port}"), "--loglevel=fatal"]);
            command.arg(site.join("cgi-bin/ws-cat"));
            command
        }
        Who::Hyper => {
            let mut command = Command::new(env::current_exe().map_err(|e| format!("bench: {e}"))?);
            command.args([floor::HIDDEN, &port]);
            command
        }
        Who::SpawnLoop => return Err(Trouble::Failed("no server".into())),
    };
    server.launch(&mut command, &log)?;
    server.wait_until(&log, listens)?;
    Ok(server)
}

/// The path at which a contestant runs `cat` for each WebSocket.
pub(crate) fn echo_path(who: Who) -> &'static str {
    if who == Who::Ours { "/cgi-bin/ws-cat" } else { "/" }
}

fn program(name: &str) -> Result<PathBuf, Trouble> {
    packages::find(name).ok_or_else(|| Trouble::Missing(format!("{name} is not installed")))
}

/// A folder of its own for each start, so that no socket or pid file of an earlier one is in the way.
fn run_folder(tree: &Tree) -> Result<PathBuf, String> {
    static STARTS: AtomicUsize = AtomicUsize::new(0);
    let folder = tree.run.join(STARTS.fetch_add(1, Ordering::Relaxed).to_string());
    tree::make_folder(&folder)?;
    Ok(folder)
}

fn fill(template: &str, ground: &Ground, port: &str, run: &Path) -> String {
    let (user, group) =
        if rustix::process::geteuid().is_root() { ("www-data", "www-data") } else { ("nobody", "nogroup") };
    template
        .replace("@PORT@", port)
        .replace("@RUN@", &run.to_string_lossy())
        .replace("@TREE@", &ground.tree.site.to_string_lossy())
        .replace("@FILES@", &ground.files.to_string())
        .replace("@CONNECTIONS@", &(ground.files * 4 / 5).min(16_384).to_string())
        .replace("@MODULES@", "/usr/lib/apache2/modules")
        .replace("@USER@", user)
        .replace("@GROUP@", group)
}

/// Builds `peers/main.go`; Go keeps its own cache, so only the first time takes long.
fn build_go() -> Result<PathBuf, Trouble> {
    let go = program("go")?;
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
    let (source, out) = (cache.join("main.go"), cache.join("gocgi"));
    let prepare = || {
        fs::create_dir_all(&cache)?;
        fs::write(&source, include_str!("peers/main.go"))
    };
    prepare().map_err(|e| format!("{}: {e}", source.display()))?;
    let built = Command::new(go)
        .args(["build", "-o"])
        .arg(&out)
        .arg(&source)
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", cache.join("cache"))
        .output()
        .map_err(|e| format!("go build: {e}"))?;
    if built.status.success() {
        Ok(out)
    } else {
        Err(Trouble::Failed(format!("go build: {}", String::from_utf8_lossy(&built.stderr).trim())))
    }
}
