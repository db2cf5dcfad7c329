//! `--open`.

use std::process::{Command, Stdio};

/// Shows `url` in whatever browser there is; best effort, and nobody waits for it.
pub(super) fn open(url: String) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let opened = std::thread::Builder::new().name("open".into()).spawn(move || {
        let mut command = Command::new(program);
        command.arg(&url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Err(error) = command.status() {
            tracing::warn!("--open: {program}: {error}");
        }
    });
    if let Err(error) = opened {
        tracing::warn!("--open: {error}");
    }
}
