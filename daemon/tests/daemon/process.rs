//! Start, sockets, privileges, signals and end.

use crate::support::{GOOD, Place};
use countersign_protocol::frame::Reply;
use countersign_protocol::login::{self, Outcome, Step};
use countersign_protocol::manage::{Call, OnceCode, Status};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// A user that every Debian has and that owns nothing.
const NOBODY: &str = "nobody";

fn place() -> Place {
    let place = Place::new();
    place.configure(GOOD);
    place
}

fn key(place: &Place) -> String {
    place.root().manage::<Status>(&Call::Status {}).unwrap().host_key
}

#[test]
fn the_host_key_and_the_sockets_outlive_a_crash() {
    let place = place();
    let daemon = place.start(&[]);
    let first = key(&place);
    for (name, mode) in [("run/pam.sock", 0o600), ("run/self.sock", 0o666)] {
        let data = std::fs::metadata(place.path(name)).unwrap();
        assert!(data.file_type().is_socket());
        assert_eq!(data.mode() & 0o777, mode, "{name}");
    }
    for name in ["lib/host_key", "lib/audit/audit.jsonl"] {
        assert_eq!(std::fs::metadata(place.path(name)).unwrap().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(std::fs::metadata(place.path("lib")).unwrap().mode() & 0o777, 0o700);
    daemon.kill();
    let daemon = place.start(&[]);
    assert_eq!(key(&place), first);
    let (status, took, said) = daemon.end();
    // Nothing waits: far from what systemd allows, also on a busy machine.
    assert!(status.success() && took < Duration::from_secs(15), "{took:?} {said}");
}

#[test]
fn a_second_daemon_and_foreign_files_are_left_alone() {
    let place = place();
    let _daemon = place.start(&[]);
    let (status, said) = place.fails(&[]);
    assert!(!status.success() && said.contains("another countersignd serves it"), "{said}");
    let run = place.path("run2");
    let (status, said) = place.fails(&["--run", run.to_str().unwrap()]);
    assert!(!status.success() && said.contains("another countersignd runs on it"), "{said}");
    std::fs::remove_dir_all(&run).unwrap();
    std::fs::create_dir(&run).unwrap();
    std::fs::set_permissions(&run, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(run.join("pam.sock"), "precious").unwrap();
    let (status, said) = place.fails(&["--run", run.to_str().unwrap()]);
    assert!(!status.success() && said.contains("move it away"), "{said}");
    assert_eq!(std::fs::read_to_string(run.join("pam.sock")).unwrap(), "precious");
    // Nor is a socket put where others could put a link in its place.
    std::fs::remove_file(run.join("pam.sock")).unwrap();
    std::fs::set_permissions(&run, PermissionsExt::from_mode(0o777)).unwrap();
    let (status, said) = place.fails(&["--run", run.to_str().unwrap()]);
    assert!(!status.success() && said.contains("nobody else can write"), "{said}");
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0);
    assert!(place.root().manage::<Status>(&Call::Status {}).is_ok());
}

#[test]
fn broken_state_is_no_empty_state() {
    for (name, content) in
        [("devices.json", "{"), ("recovery.json", "[]"), ("budget.json", ""), ("host_key", "x")]
    {
        let place = place();
        std::fs::create_dir(place.path("lib")).unwrap();
        std::fs::set_permissions(place.path("lib"), PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::write(place.path("lib").join(name), content).unwrap();
        std::fs::set_permissions(place.path("lib").join(name), PermissionsExt::from_mode(0o600)).unwrap();
        let (status, said) = place.fails(&[]);
        assert!(!status.success() && said.contains(name), "{name}: {said}");
        assert_eq!(std::fs::read_to_string(place.path("lib").join(name)).unwrap(), content);
    }
    let place = place();
    std::fs::create_dir(place.path("lib")).unwrap();
    std::fs::set_permissions(place.path("lib"), PermissionsExt::from_mode(0o777)).unwrap();
    let (status, said) = place.fails(&[]);
    assert!(!status.success() && said.contains("nobody else can write"), "{said}");
}

#[test]
fn root_is_given_up_with_no_way_back() {
    let Ok(Some(nobody)) = nix::unistd::User::from_name(NOBODY) else {
        return eprintln!("there is no user {NOBODY}: nothing tested");
    };
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("only root can give up root: nothing tested");
    }
    let place = place();
    let daemon = place.start(&["--user", NOBODY]);
    let (uid, gid) = (nobody.uid, nobody.gid);
    assert_eq!(daemon.status("Uid"), format!("{uid} {uid} {uid} {uid}"));
    assert_eq!(daemon.status("Gid"), format!("{gid} {gid} {gid} {gid}"));
    assert_eq!(daemon.status("Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&daemon.status(set), 16), Ok(0), "{set}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // Not dumpable: the process's files in /proc stay root's.
    assert_eq!(std::fs::metadata(format!("/proc/{}/environ", daemon.child.id())).unwrap().uid(), 0);
    // The sockets are root's, the state is not.
    assert_eq!(std::fs::metadata(place.path("run/pam.sock")).unwrap().uid(), 0);
    assert_eq!(std::fs::metadata(place.path("lib/host_key")).unwrap().uid(), uid.as_raw());
    assert!(place.root().manage::<Status>(&Call::Status {}).unwrap().config_faults.is_empty());
    // It still reads a new policy, and still not one that is the user's own.
    std::os::unix::fs::chown(place.path("etc/countersign.toml"), Some(uid.as_raw()), None).unwrap();
    daemon.reload();
    let faults = place.root().manage::<Status>(&Call::Status {}).unwrap().config_faults;
    assert!(faults[0].contains("it belongs to user"), "{faults:?}");
    // One that it may not read is told as that.
    std::os::unix::fs::chown(place.path("etc/countersign.toml"), Some(0), None).unwrap();
    std::fs::set_permissions(place.path("etc/countersign.toml"), PermissionsExt::from_mode(0o600)).unwrap();
    daemon.reload();
    let faults = place.root().manage::<Status>(&Call::Status {}).unwrap().config_faults;
    assert!(faults[0].contains("may not read it"), "{faults:?}");
    assert_eq!(daemon.status("NoNewPrivs"), "1");

    for (user, why) in [("root", "that is root"), ("no such user", "there is no such user")] {
        let other = self::place();
        let (status, said) = other.fails(&["--user", user]);
        assert!(!status.success() && said.contains(why), "{said}");
        assert!(!other.path("run").exists());
    }
}

#[test]
fn sockets_of_systemd_are_taken_by_their_names() {
    let place = place();
    // Handed over in the other order than usual.
    let listeners = ["self", "pam"].map(|name| UnixListener::bind(place.path(name)).unwrap());
    let [first, second] = listeners.map(|listener| fcntl(&listener, FcntlArg::F_DUPFD(200)).unwrap());
    assert_eq!(second, first + 1);
    let variables = [
        ("LISTEN_FDS", "2".to_owned()),
        ("LISTEN_FDNAMES", "self:pam".to_owned()),
        ("LISTEN_FDS_FIRST_FD", first.to_string()),
    ];
    let _daemon = place.start_with(&[], &variables);
    assert!(!place.path("run").exists());
    let call = Call::CodesLeft { user: "daemon".into() };
    for (name, allowed) in [("pam", true), ("self", false)] {
        std::fs::create_dir_all(place.path("run")).unwrap();
        let socket = place.path("run").join(format!("{name}.sock"));
        std::os::unix::fs::symlink(place.path(name), socket).unwrap();
        let mut peer = if allowed { place.root() } else { place.everybody() };
        assert_eq!(peer.manage::<serde_json::Value>(&call).is_ok(), allowed, "{name}");
    }
}

#[test]
fn the_watchdog_hears_of_it_only_when_it_asks() {
    let place = place();
    let _daemon = place.start_with(&[], &[("WATCHDOG_USEC", "200000")]);
    for _ in 0..3 {
        place.told("WATCHDOG=1");
    }
}

#[test]
fn a_daemon_with_nothing_to_do_sleeps_and_is_small() {
    // Without a policy there is no server to look for.
    let place = Place::new();
    let daemon = place.start(&[]);
    place.root().manage::<Status>(&Call::Status {}).unwrap();
    // Helper threads end some seconds after their work.
    std::thread::sleep(Duration::from_secs(4));
    let before = daemon.status("voluntary_ctxt_switches");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(daemon.status("voluntary_ctxt_switches"), before);
    assert_eq!(daemon.status("Threads"), "1");
    // Its own pages: the program's are those of an unoptimised build here. `make bench` counts all of the release's.
    let own: u64 = daemon.status("RssAnon").trim_end_matches(" kB").parse().unwrap();
    assert!(own <= 2 * 1024, "{own} KiB");
}

#[test]
fn for_a_newer_daemon_it_leaves_when_nobody_waits_and_not_before() {
    let place = place();
    let daemon = place.start(&[]);
    let new = Call::NewOnce { user: "root".into(), seconds: 600, reason: "a test".into() };
    let code = place.root().manage::<OnceCode>(&new).unwrap().code;
    let mut waits = place.root();
    let prompt = waits.login();
    assert!(matches!(prompt, Step::Ask { .. }), "{prompt:?}");

    daemon.signal(Signal::SIGUSR2);
    place.told("STATUS=ends as soon as no login waits, for a newer one to take over");
    // Who comes now is served as well.
    let another = place.root().login();
    assert!(matches!(another, Step::Ask { .. }), "{another:?}");
    let typed = login::Continue { answer: Some(code), ..login::Continue::default() };
    let verdict = waits.call::<Step>(&login::Call::Continue(typed));
    assert!(
        matches!(&verdict, Reply::Parameters { parameters: Step::Verdict(verdict) }
        if verdict.outcome == Outcome::Granted),
        "{verdict:?}"
    );

    let (status, said) = daemon.wait();
    assert!(status.success() && said.contains("ending for a newer one: no login waits"), "{said}");
}
