//! The web app written for hosting elsewhere.

use crate::common::{PROGRAM, first_of_sha256};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const SERVER: &str = "https://push.example.com";

fn export(dir: &Path, server: &str) -> (Output, String) {
    let output =
        Command::new(PROGRAM).arg("web-export").arg(dir).args(["--server", server]).output().unwrap();
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    (output, error)
}

fn version(dir: &Path) -> String {
    let list: Value = serde_json::from_str(&fs::read_to_string(dir.join("app-files.json")).unwrap()).unwrap();
    list["version"].as_str().unwrap().to_owned()
}

#[test]
fn the_whole_app_is_written_with_its_server_and_how_to_serve_it() {
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path().join("new/app");
    let (output, error) = export(&app, SERVER);
    assert!(output.status.success(), "{error}");
    let page = fs::read_to_string(app.join("index.html")).unwrap();
    assert!(
        page.contains("<meta name=\"countersign-server\" content=\"https://push.example.com\">"),
        "{page}"
    );
    let list: Value = serde_json::from_str(&fs::read_to_string(app.join("app-files.json")).unwrap()).unwrap();
    let later = list["later"].as_object().unwrap();
    for (file, hash) in list["files"].as_object().unwrap().iter().chain(later) {
        let name = file.trim_start_matches('/');
        let name = if name.is_empty() { "index.html" } else { name };
        assert_eq!(first_of_sha256(&fs::read(app.join(name)).unwrap()), hash.as_str().unwrap(), "{name}");
    }
    let headers = fs::read_to_string(app.join("headers.txt")).unwrap();
    let policy = "connect-src 'self' https://push.example.com; manifest-src";
    assert_eq!(headers.matches(policy).count(), 2, "{headers}");
    assert_eq!(headers.matches("max-age=31536000").count(), 2, "{headers}");
    assert!(headers.contains(app.canonicalize().unwrap().to_str().unwrap()), "{headers}");
}

#[test]
fn an_earlier_export_is_replaced_and_what_others_put_there_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let app = dir.path();
    fs::write(app.join("robots.txt"), "mine").unwrap();
    assert!(export(app, SERVER).0.status.success());
    let first = version(app);
    // As a version would have left it that had another file.
    let manifest = app.join("countersign-export.json");
    let stale = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let text = fs::read_to_string(&manifest).unwrap();
    let more = format!(
        "\"files\": {{\"js/stale.js\": \"{stale}\", \"js/changed.js\": \"{stale}\", \"../out.js\": \"{stale}\","
    );
    fs::write(&manifest, text.replacen("\"files\": {", &more, 1)).unwrap();
    fs::create_dir_all(app.join("js")).unwrap();
    fs::write(app.join("js/stale.js"), "test").unwrap();
    fs::write(app.join("js/changed.js"), "changed").unwrap();
    let outside = app.parent().unwrap().join("out.js");
    let (output, error) = export(app, "https://other.example");
    assert!(output.status.success(), "{error}");
    assert!(fs::read_to_string(app.join("index.html")).unwrap().contains("https://other.example"));
    assert_ne!(version(app), first, "browsers must fetch the other page");
    assert!(!app.join("js/stale.js").exists());
    assert!(app.join("js/changed.js").exists() && !outside.exists());
    assert_eq!(fs::read_to_string(app.join("robots.txt")).unwrap(), "mine");

    // A file that somebody changed since.
    fs::write(app.join("app-files.json"), "changed").unwrap();
    let before = fs::read(app.join("index.html")).unwrap();
    let (output, error) = export(app, SERVER);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("app-files.json") && error.trim_end().lines().count() == 1, "{error}");
    assert_eq!(fs::read(app.join("index.html")).unwrap(), before, "nothing is half done");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("index.html"), "my page").unwrap();
    let (output, error) = export(dir.path(), SERVER);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("index.html") && error.contains("choose another directory"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    fs::remove_file(dir.path().join("index.html")).unwrap();
    fs::write(dir.path().join("countersign-export.json"), "[").unwrap();
    let (output, error) = export(dir.path(), SERVER);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("countersign-export.json"), "{error}");
}

#[test]
fn the_servers_name_is_an_origin() {
    let dir = tempfile::tempdir().unwrap();
    for bad in ["push.example.com", "https://push.example.com/", "https://a\"><script>"] {
        let (output, error) = export(dir.path(), bad);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("--server"), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
