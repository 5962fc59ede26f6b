//! What the built module needs and exports. `symbols.sh` is a script so that it checks packages, too.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

mod lab;

#[test]
fn it_needs_and_exports_what_it_should() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/symbols.sh");
    let status = Command::new(script).arg(lab::module()).status().unwrap();
    assert!(status.success());
}

#[test]
fn the_check_itself_can_fail() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/symbols.sh");
    let output = Command::new(&script).arg(lab::driver()).output().unwrap();
    assert!(!output.status.success(), "a program is no module");
    let output = Command::new(&script).arg(lab::module()).arg("1").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("the limit is 1 KiB"));
}
