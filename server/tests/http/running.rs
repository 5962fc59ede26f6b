//! Starting, stopping, and what is shown of a running server.

use crate::common::{PROGRAM, Server, http};
use countersign_protocol::api::Hello;
use countersign_protocol::message::MessageType::Request;
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn run(args: &[&str], database: &Path) -> (Output, String) {
    let output = Command::new(PROGRAM).args(args).arg("--database").arg(database).output().unwrap();
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    (output, error)
}

#[test]
fn plain_http_is_for_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let origin = ["--origin", "https://push.example.com"];
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8443"] {
        let (output, error) =
            run(&[&["serve", "--listen", listen], &origin[..]].concat(), &dir.path().join("a.db"));
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("--behind-proxy"), "{error}");
    }
    let server = Server::start_with(
        dir.into(),
        "0.0.0.0:0",
        &["--behind-proxy", "--origin", "https://push.example.com"],
        "",
    );
    assert!(server.url.starts_with("http://0.0.0.0:"));
}

#[test]
fn faults_at_the_start_name_the_file_and_have_a_code() {
    let dir = tempfile::tempdir().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let text = dir.path().join("text.db");
    std::fs::write(&text, "not a database ".repeat(1000)).unwrap();
    for (database, why) in [(text, "not an SQLite database"), (dir.path().join("none/a.db"), "none/a.db")] {
        let (output, error) = run(&serve, &database);
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(error.contains(database.to_str().unwrap()) && error.contains(why), "{error}");
    }
    let server = Server::start();
    let (output, error) = run(&serve, &server.database());
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert!(error.contains("another countersign-server"), "{error}");
    let address = server.url.trim_start_matches("http://");
    let (output, error) = run(&["serve", "--listen", address], &dir.path().join("b.db"));
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot listen on") && error.contains(address), "{error}");
    let (output, error) = run(&["serve", "--listen", "nowhere"], &dir.path().join("b.db"));
    assert_eq!(output.status.code(), Some(2), "{error}");
}

#[test]
fn the_database_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    for name in ["server.db", "server.db-wal", "server.db-lock"] {
        let mode = std::fs::metadata(server.dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn an_older_database_is_brought_up_to_date() {
    let server = Server::start();
    let host = server.host().await;
    let _device = server.device(&host).await;
    let database = server.database();
    let mut server = server;
    assert!(server.stop().success());
    // As the first release left it.
    let conn = Connection::open(&database).unwrap();
    conn.execute_batch(
        "DROP INDEX links_by_device; DROP INDEX join_tokens_by_host; DROP TABLE push_key; \
         DROP TABLE subscriptions; PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(conn);
    let server = server.restart_stopped();
    server.wait_until_said(&["1 hosts, 1 devices, 1 links"]).await;
    let conn = Connection::open(&database).unwrap();
    let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 3);
}

#[tokio::test]
async fn a_database_that_another_program_locks_is_waited_for_then_said() {
    let mut server = Server::start();
    let token = server.join_token(&[]);
    let conn = Connection::open(server.database()).unwrap();
    conn.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let host = crate::common::Caller::new(&server);
    let refused = host.join(&token, "db-1").await;
    crate::common::assert_refused(refused, 503, "database");
    let line = server.wait_for_log("keeps it locked");
    assert!(line.contains("server.db"), "{line}");
    conn.execute_batch("ROLLBACK").unwrap();
    host.join(&token, "db-1").await.unwrap();
}

#[tokio::test]
async fn stopping_ends_streams_and_polls_within_seconds() {
    let mut server = Server::start();
    let host = server.host().await;
    let device = server.device(&host).await;
    let other = server.device(&host).await;
    let mut streams = [host.stream().await, device.stream().await];
    let poll =
        tokio::spawn(async move { other.request(reqwest::Method::GET, "/v1/poll?wait=25").send().await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let stopped = tokio::task::spawn_blocking(move || (server.stop(), server));
    for stream in &mut streams {
        assert!(stream.event().await.is_none());
    }
    assert!(poll.await.unwrap().unwrap().status().is_success());
    let (status, server) = stopped.await.unwrap();
    assert!(status.success());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(server.log().last().unwrap().contains("stopped"), "{:?}", server.log());
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_up_the_stop() {
    let mut server = Server::start();
    let address = server.url.trim_start_matches("http://").to_owned();
    let _silent = std::net::TcpStream::connect(&address).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    assert!(server.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn the_service_manager_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["serve", "--listen", "127.0.0.1:0", "--database"])
        .arg(dir.path().join("a.db"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "2000000")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let told = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap().trim_end().to_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!(told(), "WATCHDOG=1");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    loop {
        match told().as_str() {
            "WATCHDOG=1" => {}
            other => break assert_eq!(other, "STOPPING=1"),
        }
    }
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn health_readiness_and_metrics() {
    let server = Server::start();
    let host = server.host().await;
    let device = server.device(&host).await;
    let _stream = device.stream().await;
    host.post(vec![host.sealed(Request, &device, 1, 1)], 60).await.unwrap();
    let get = async |path: &str| {
        let response = http().get(format!("{}{path}", server.url)).send().await.unwrap();
        assert!(response.status().is_success(), "{path}");
        response.text().await.unwrap()
    };
    assert_eq!(get("/healthz").await, "ok\n");
    assert_eq!(get("/readyz").await, "ok\n");
    get("/healthz").await;
    let metrics = get("/metrics").await;
    for line in [
        "countersign_streams_open 1",
        "countersign_messages_held 1",
        "countersign_posts_total 1",
        "countersign_messages_total 1",
        "countersign_decisions_total 0",
        "countersign_links 1",
        "countersign_requests_total{method=\"GET\",route=\"/healthz\",status=\"200\"} 2",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains(&host.id()) && !metrics.contains("127.0.0.1"));
}

#[tokio::test]
async fn the_hello_names_the_epoch() {
    let server = Server::start();
    let host = server.host().await;
    let mut epochs = BTreeSet::new();
    for _ in 0..2 {
        let response = host.request(reqwest::Method::GET, "/v1/stream").send().await.unwrap();
        let mut response = response;
        let first = String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap();
        let data = first.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        let hello: Hello = serde_json::from_str(data).unwrap();
        assert_eq!(hello.server, env!("CARGO_PKG_VERSION"));
        epochs.insert(hello.epoch);
    }
    assert_eq!(epochs.len(), 1);
}

/// Follows `$ref`s through the whole document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => drop(found.insert(text.clone())),
                    value => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let server = Server::start();
    let response = http().get(format!("{}/openapi.json", server.url)).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let document: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert(format!("{method} {path}"));
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            // What the path holds is described.
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let name = part.trim_end_matches('}');
                let known =
                    operation["parameters"].as_array().unwrap().iter().any(|known| known["name"] == name);
                assert!(known, "{method} {path}: {name}");
            }
            // Calls with a token say so.
            if responses.contains_key("401") {
                assert!(operation["security"][0]["token"].is_array(), "{method} {path}");
            }
        }
    }
    let contract = [
        "post /v1/auth/challenge",
        "post /v1/auth/token",
        "post /v1/hosts",
        "get /v1/hosts",
        "delete /v1/hosts/{id}",
        "post /v1/devices",
        "get /v1/devices",
        "put /v1/devices/self",
        "put /v1/devices/self/push",
        "delete /v1/devices/self/push",
        "delete /v1/devices/{id}",
        "get /v1/app",
        "post /v1/messages",
        "post /v1/decisions",
        "put /v1/lists/{id}",
        "get /v1/lists/{host}/{id}",
        "get /v1/stream",
        "get /v1/poll",
        "put /v1/mailboxes/{id}",
        "get /v1/mailboxes/{id}",
        "delete /v1/mailboxes/{id}",
        "get /v1/mailboxes/{id}/{slot}",
        "post /v1/mailboxes/{id}/{slot}",
        "put /v1/mailboxes/{id}/{slot}",
        "get /healthz",
        "get /readyz",
        "get /metrics",
    ];
    assert_eq!(described, contract.map(str::to_owned).into());
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() >= 15, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
