//! From a configuration to a running server, and to its end.

mod accept;
mod activation;
mod browser;
mod drain;
mod holder;
mod http1;
mod http2;
mod lane;
mod listener;
mod privileges;
pub mod rehearsal;
mod reload;
mod serve;
mod tls;
mod workers;

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::access_log::LogFile;
use crate::app::App;
use crate::config::{Config, ConfigError, Flags};
use crate::connection::Elsewhere;
use crate::logging;
use crate::spawner::{Nursery, Replaceable};

use accept::Doorman;
use drain::{Drain, Ending, Signals};
use listener::Listener;
use reload::Reload;
use serve::Common;
use tls::Encryption;
use workers::Workers;

/// How often lost log lines are told of, in one line on standard error.
const LOST_LINES: Duration = Duration::from_secs(60);

/// The application as it is now; a reload puts another in its place.
#[derive(Clone)]
pub(crate) struct Current(Arc<Reloaded>);

struct Reloaded {
    app: RwLock<Arc<App>>,
    /// How often, so that a connection need not ask for the application itself at every request.
    times: AtomicU64,
}

impl Current {
    fn new(app: App) -> Self {
        Self::shared(Arc::new(app))
    }

    fn shared(app: Arc<App>) -> Self {
        Self(Arc::new(Reloaded { app: RwLock::new(app), times: AtomicU64::new(0) }))
    }

    pub(crate) fn get(&self) -> Arc<App> {
        self.0.app.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often there was another.
    fn times(&self) -> u64 {
        self.0.times.load(Ordering::Acquire)
    }

    fn set(&self, app: App) {
        let old = std::mem::replace(&mut *self.0.app.write().unwrap_or_else(PoisonError::into_inner), Arc::new(app));
        self.0.times.fetch_add(1, Ordering::Release);
        drop(old); // outside the lock, for it may be the last that knew a large cache
    }
}

/// What keeps a server from starting.
#[derive(Debug)]
pub enum Error {
    /// The operator can put it right: exit status 2.
    Config(ConfigError),
    /// An address that is taken, no processes to be had.
    System(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problems) => problems.fmt(f),
            Self::System(error) => write!(f, "cgiserve: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ConfigError> for Error {
    fn from(problems: ConfigError) -> Self {
        Self::Config(problems)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Serves until a signal says otherwise. `flags` are read again, with the file, when SIGHUP comes.
///
/// # Errors
/// What keeps the server from starting.
pub fn run(flags: Flags, config: Config, proof: &Replaceable) -> Result<(), Error> {
    // The spawner is forked before any thread exists and before any socket is open.
    let nursery = Nursery::fork(config.limits.spawners)?.replaceable(proof);
    privileges::raise_descriptor_limit();
    let encryption = Encryption::new(&config)?;
    let (bound, redirects) = match activation::sockets()? {
        // Who hands sockets over has another socket's answer for the others.
        Some(sockets) => (sockets, Vec::new()),
        None => (listener::bind(&config)?, listener::bind_redirects(&config)?),
    };
    if let Err(error) = App::make_state_folder(&config) {
        let folder = config.state.display();
        let _ = writeln!(io::stderr(), "cgiserve: {folder}: {error}; scripts have no place to keep data");
    }
    let log = Arc::new(LogFile::open(config.log_file.as_deref())?);
    if let Some(identity) = &config.identity {
        privileges::give_up_root(identity)?;
    }
    logging::start(log.clone(), config.log_level);
    for remark in &config.remarks {
        tracing::warn!("{remark}");
    }
    let runtime = workers::runtime()?;
    let (workers, others) = Workers::start(runtime.handle())?;
    let outcome = runtime.block_on(serve(flags, config, nursery, encryption, (bound, redirects), log.clone(), workers));
    workers::take_down(runtime);
    others.end();
    log.close();
    Ok(outcome?)
}

async fn serve(
    flags: Flags,
    config: Config,
    nursery: Nursery,
    encryption: Option<Encryption>,
    (bound, redirects): (Vec<listener::Bound>, Vec<listener::Bound>),
    log: Arc<LogFile>,
    workers: Workers,
) -> io::Result<()> {
    let spawner = nursery.attach(&workers.reactors())?;
    let listeners: Vec<Listener> = bound.into_iter().map(Listener::open).collect::<io::Result<_>>()?;
    // Before anybody can know that the server is there, and send it one.
    let mut signals = Signals::listen()?;
    let redirects: Vec<Listener> = redirects.into_iter().map(Listener::open).collect::<io::Result<_>>()?;
    // In the order of the addresses beside which they are.
    let doors: Vec<_> = listeners.iter().filter_map(Listener::address).map(|address| address.port()).collect();
    announce(&listeners, encryption.is_some(), &flags)?;
    for (redirect, port) in redirects.iter().filter_map(Listener::address).zip(&doors) {
        tracing::info!("redirecting from {redirect} to port {port}");
    }
    let drain = Drain::new();
    let current = Current::new(App::new(config, spawner.clone(), log.clone()));
    let common = Arc::new(Common {
        current: current.clone(),
        drain: drain.clone(),
        encryption: encryption.clone(),
        elsewhere: None,
        make_room: Arc::default(),
    });
    let app = current.get();
    let doorman = Doorman::new(app.config.limits, app.config.admission.capacity(), listeners.len() + redirects.len());
    drop(app);
    for listener in listeners {
        tokio::spawn(accept::run(listener, doorman.clone(), common.clone(), workers.clone()));
    }
    for (redirect, port) in redirects.into_iter().zip(doors) {
        let elsewhere = Some(Elsewhere { tls: encryption.is_some(), port });
        let common = Common { encryption: None, elsewhere, ..Common::clone(&common) };
        tokio::spawn(accept::run(redirect, doorman.clone(), Arc::new(common), workers.clone()));
    }
    tokio::spawn(tell_of_lost_lines(log.clone()));
    let reload = Reload { flags, current: current.clone(), encryption };
    signals.until_end(async || reload.run().await).await;
    let deadline = current.get().config.limits.drain;
    if drain.run(&mut signals, deadline).await == Ending::AtOnce {
        // The spawner sees its socket close and ends every script.
        return Ok(());
    }
    tracing::info!(scripts = spawner.in_flight(), "draining: ending what still runs");
    tokio::select! {
        () = spawner.shutdown() => tracing::info!("draining: done"),
        () = signals.again() => {}
    }
    Ok(())
}

/// The lines that tools read to learn the port, exactly as Python prints them.
fn announce(listeners: &[Listener], tls: bool, flags: &Flags) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for listener in listeners {
        writeln!(out, "{}", listener.banner(tls))?;
    }
    out.write_all(flags.greeting.as_bytes())?;
    if let Some(url) = listeners.iter().find_map(|listener| listener.url(tls)).filter(|_| flags.open) {
        browser::open(url);
    }
    out.flush()
}

/// A failing disk is never fatal, but somebody should know. Not through the log, which cannot be written.
async fn tell_of_lost_lines(log: Arc<LogFile>) {
    let mut told = 0;
    loop {
        tokio::time::sleep(LOST_LINES).await;
        let lost = log.lost();
        if lost > told {
            let _ = writeln!(io::stderr(), "cgiserve: {} log lines were lost, {lost} in all", lost - told);
            told = lost;
        }
    }
}
