//! Programs beside the server that some tests need.

use std::process::{Command, Stdio};

/// Fails, and says what to install, where `program` is not there.
#[track_caller]
pub fn need(program: &str, package: &str) {
    let found = Command::new(program)
        .arg("--version")
        .stderr(Stdio::null())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(found.is_ok(), "this test needs {program}: install it (Debian: apt-get install {package})");
}
