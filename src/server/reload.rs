//! SIGHUP: the log opened anew, the configuration read anew, the certificate too. No connection notices.

use super::Current;
use super::tls::Encryption;
use crate::app::App;
use crate::config::{self, Config, ConfigError, Flags};

/// What a reload needs to know.
pub(super) struct Reload {
    pub(super) flags: Flags,
    pub(super) current: Current,
    pub(super) encryption: Option<Encryption>,
}

impl Reload {
    /// Does all that can be done; whatever is wrong with the new configuration is logged, and the old one stays.
    pub(super) async fn run(&self) {
        let old = self.current.get();
        // First, so that what is said about the rest stands in the new file.
        old.log.reopen();
        let (flags, running) = (self.flags.clone(), old.clone());
        // Reads files and asks for addresses: not on the reactor's thread.
        let resolved = tokio::task::spawn_blocking(move || config::resolve_again(&flags, &running.config));
        let Ok(resolved) = resolved.await else { return };
        let config = match resolved {
            Ok(config) => config,
            Err(problems) => return complain("the configuration is not reloaded, the old one stays", &problems),
        };
        if let Some(encryption) = &self.encryption
            && let Err(problems) = encryption.reload(&config)
        {
            complain("the certificate is not reloaded, the old one stays", &problems);
        }
        for key in fixed(&old.config, &config) {
            tracing::warn!("{key}: a change needs a restart");
        }
        for remark in &config.remarks {
            tracing::warn!("{remark}");
        }
        old.log.move_to(config.log_file.clone());
        self.current.set(App::renew(&old, config));
        tracing::info!("configuration reloaded");
    }
}

fn complain(what: &str, problems: &ConfigError) {
    for problem in &problems.0 {
        let (place, key, hint) = (&problem.place, &problem.key, &problem.hint);
        let hint = if hint.is_empty() { String::new() } else { format!(" ({hint})") };
        tracing::error!("{what}: {place}: {key}: {}{hint}", problem.what);
    }
}

/// The keys that differ, of those that were used up when the server started.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let differ = [
        ("bind, port", old.listen != new.listen),
        ("tls", old.tls.is_some() != new.tls.is_some()),
        ("log.level", old.log_level != new.log_level),
        ("limits.connections", old.limits.connections != new.limits.connections),
        ("limits.spawners", old.limits.spawners != new.limits.spawners),
        ("state-directory", old.state != new.state),
    ];
    differ.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}
