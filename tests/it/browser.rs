//! Every demonstration, used in a real browser.

use std::process::Command;

#[test]
fn demonstrations_work_in_a_browser() {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/run");
    let output = Command::new(run).arg(env!("CARGO_BIN_EXE_cgiserve")).output().expect("the runner is there");
    let (told, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{complained}");
}
