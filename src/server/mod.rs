//! From a configuration to a running server, and to its end.

mod accept;
mod drain;
mod listener;
mod privileges;
mod serve;

use std::io::{self, Write};
use std::sync::{Arc, PoisonError, RwLock};

use crate::access_log::LogFile;
use crate::app::App;
use crate::config::{Config, Flags};
use crate::logging;
use crate::spawner::Nursery;

use drain::{Drain, Signals};
use listener::Listener;

/// The application as it is now; a reload puts another in its place.
#[derive(Clone)]
pub(crate) struct Current(Arc<RwLock<Arc<App>>>);

impl Current {
    fn new(app: App) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(app))))
    }

    pub(crate) fn get(&self) -> Arc<App> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves until a signal says otherwise.
///
/// # Errors
/// What keeps the server from starting: an address that is taken, no processes to be had.
pub fn run(_flags: Flags, config: Config) -> io::Result<()> {
    // The spawner is forked before any thread exists and before any socket is open.
    let nursery = Nursery::fork(config.limits.spawners)?;
    privileges::raise_descriptor_limit();
    let bound = listener::bind(&config)?;
    if let Err(error) = App::make_state_folder(&config) {
        let folder = config.state.display();
        let _ = writeln!(io::stderr(), "cgiserve: {folder}: {error}; scripts have no place to keep data");
    }
    let log = Arc::new(LogFile::open(config.log_file.as_deref())?);
    if let Some(identity) = &config.identity {
        privileges::give_up_root(identity)?;
    }
    logging::start(log.clone(), config.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("serve").build()?;
    let outcome = runtime.block_on(serve(config, nursery, bound, log.clone()));
    runtime.shutdown_background();
    log.close();
    outcome
}

async fn serve(config: Config, nursery: Nursery, bound: Vec<listener::Bound>, log: Arc<LogFile>) -> io::Result<()> {
    let spawner = nursery.attach()?;
    let listeners: Vec<Listener> = bound.into_iter().map(Listener::open).collect::<io::Result<_>>()?;
    let signals = Signals::listen()?;
    announce(&config, &listeners)?;
    let drain = Drain::new(config.limits.drain);
    let current = Current::new(App::new(config, spawner.clone(), log.clone()));
    for listener in listeners {
        tokio::spawn(accept::run(listener, current.clone(), drain.clone()));
    }
    drain.until_over(signals, &log).await;
    spawner.shutdown().await;
    Ok(())
}

/// The line that tools read to learn the port, exactly as Python prints it.
fn announce(config: &Config, listeners: &[Listener]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for listener in listeners {
        writeln!(out, "{}", listener.banner(config.tls.is_some()))?;
    }
    out.flush()
}
