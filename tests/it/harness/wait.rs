//! Waiting for conditions, never for a time.

use std::time::{Duration, Instant};

/// How long anything may take before a test fails. Generous: a loaded machine is no defect.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the process is alive; one that has ended and was not yet collected is not.
pub fn alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The state stands behind the name, which may hold anything but ends with the last parenthesis.
    !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z') || rest.starts_with('X'))
}

/// Waits until the process is gone.
#[track_caller]
pub fn until_gone(pid: u32) {
    until(&format!("process {pid} to end"), || !alive(pid));
}
