//! The built module in hostile or odd surroundings: whose socket it is, what the host process looks
//! like, and what may call a login off.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod lab;

use countersign_protocol::login::{Outcome, TOKEN_VARIABLE};
use lab::{Act, Lab, ask, report_with_stdin, say, verdict, wait};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SUCCESS: i32 = 0;
const AUTH_ERR: i32 = 7;
const AUTHINFO_UNAVAIL: i32 = 9;
const ABORT: i32 = 26;
const NOBODY: u32 = 65534;

fn lab() -> Lab {
    let lab = Lab::new();
    lab.service("lab", "daemon_down=ignore");
    lab
}

/// Says why a test cannot be run here.
fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
}

/// A program run by somebody else.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

/// A grant is on offer, but the module does not even call.
fn assert_untrusted(lab: &Lab, why: &str) {
    let report = lab.run("auth", &[]);
    assert_eq!(report.result("auth"), AUTHINFO_UNAVAIL, "{report:?}");
    assert!(report.logged().contains(why), "{report:?}");
    assert_eq!(report.with("shown 3 ").len(), 1);
    assert!(lab.calls().is_empty());
}

#[test]
fn an_impostors_socket_is_refused() {
    if !lab::is_root() {
        return skip("giving a socket to another user takes root");
    }
    let lab = lab();
    lab.daemon([verdict(Outcome::Granted)]);
    assert_eq!(lab.run("auth", &[]).result("auth"), SUCCESS);

    let lab = self::lab();
    lab.daemon([verdict(Outcome::Granted)]);
    chown(lab.socket(), Some(NOBODY), None).unwrap();
    assert_untrusted(&lab, "belongs to uid 65534, not to root");
}

#[test]
fn anothers_listener_is_refused_whoever_owns_its_inode() {
    if !lab::is_root() {
        return skip("listening as another user takes root");
    }
    let lab = lab();
    // nobody may bind here for a moment.
    fs::set_permissions(lab.path("run"), fs::Permissions::from_mode(0o777)).unwrap();
    let mut impostor = as_nobody(&lab.readable(lab::driver()))
        .arg("listen")
        .arg(lab.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(impostor.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "listening\n");
    fs::set_permissions(lab.path("run"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_untrusted(&lab, "belongs to uid 65534, not to root");
    chown(lab.socket(), Some(0), None).unwrap();
    assert_untrusted(&lab, "uid 65534 listens on it, not root");
    impostor.kill().unwrap();
    impostor.wait().unwrap();
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    for mode in [0o775, 0o757, 0o1777] {
        let lab = lab();
        lab.daemon([verdict(Outcome::Granted)]);
        fs::set_permissions(lab.path("run"), fs::Permissions::from_mode(mode)).unwrap();
        assert_untrusted(&lab, "writable by root alone");
    }
    if !lab::is_root() {
        return skip("a directory of another user takes root");
    }
    let lab = lab();
    lab.daemon([verdict(Outcome::Granted)]);
    chown(lab.path("run"), Some(NOBODY), None).unwrap();
    assert_untrusted(&lab, "has to belong to root");
}

#[test]
fn links_and_files_are_not_sockets() {
    let lab = lab();
    lab.daemon([verdict(Outcome::Granted)]);
    fs::rename(lab.socket(), lab.path("run/real.sock")).unwrap();
    symlink(lab.path("run/real.sock"), lab.socket()).unwrap();
    assert_untrusted(&lab, "not a socket");
    fs::remove_file(lab.socket()).unwrap();
    fs::write(lab.socket(), "").unwrap();
    assert_untrusted(&lab, "not a socket");

    let lab = self::lab();
    lab.daemon([verdict(Outcome::Granted)]);
    fs::rename(lab.path("run"), lab.path("real")).unwrap();
    symlink(lab.path("real"), lab.path("run")).unwrap();
    assert_untrusted(&lab, "not a directory");
}

#[test]
fn a_thousand_logins_leave_nothing_behind() {
    let lab = lab();
    lab.daemon([say(), ask(), verdict(Outcome::Granted)]);
    let report = lab.run("auth,setcred,acct,open,close", &["loop=1000"]);
    assert_eq!(report.results("auth"), [SUCCESS; 1000]);
    let counts = report.with("counts ");
    assert_eq!(counts.len(), 2);
    assert_eq!(counts[0], counts[1]);

    // Nor do refusals.
    let lab = self::lab();
    lab.daemon([say(), Act::Close]);
    let report = lab.run("auth,open", &["loop=100", "block-int"]);
    assert_eq!(report.results("auth"), [AUTHINFO_UNAVAIL; 100]);
    let counts = report.with("counts ");
    assert_eq!(counts[0], counts[1]);
}

#[test]
fn a_forked_child_can_log_in() {
    let lab = lab();
    lab.daemon([say(), ask(), verdict(Outcome::Granted)]);
    let report = lab.run("auth,open", &["in-child"]);
    assert_eq!(report.results("auth"), [SUCCESS, SUCCESS]);
    assert_eq!(report.with("child "), ["0"]);
}

#[test]
fn closed_standard_descriptors_stay_closed() {
    let lab = lab();
    // The wait gives a descriptor under 3 the time to be seen; the blocked signal adds a second one.
    lab.daemon([say(), ask(), verdict(Outcome::Denied)]);
    let report = lab.run("auth", &["close-stdio", "block-int"]);
    assert_eq!(report.result("auth"), AUTH_ERR);
    assert_eq!(report.with("stdio "), ["0 closed", "1 closed", "2 closed"]);
    assert_eq!(lab.last_continue().answer.unwrap().as_str(), "123456");

    // And while the login waits nothing of ours is there.
    let lab = self::lab();
    lab.daemon([wait(3000), Act::Hang]);
    let mut child = lab.command("lab", "alice", "auth", &["close-stdio", "block-int"]);
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while lab.calls().len() < 2 {
        assert!(Instant::now() < until, "the module does not call");
        std::thread::sleep(Duration::from_millis(20));
    }
    let open: Result<Vec<u32>, _> = fs::read_dir(format!("/proc/{}/fd", child.id())).map(|entries| {
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let Ok(open) = open else { return skip("only root sees the descriptors of a user namespace") };
    assert!(open.len() >= 3 && open.iter().all(|fd| *fd > 2), "{open:?}");
}

#[test]
fn a_blocked_signal_withdraws_and_stays_pending() {
    let lab = lab();
    let left = lab.daemon([wait(20_000), Act::Hang]);
    let report = lab.run("auth", &["int-after=300"]);
    assert_eq!(report.result("auth"), ABORT);
    assert!(report.took < Duration::from_millis(1500), "{report:?}");
    assert_eq!(report.with("pending "), ["1"], "the signal is left to the host");
    left.recv_timeout(Duration::from_secs(1)).unwrap();
    assert!(report.logged().contains("withdrawn: user \"alice\": a signal came"), "{report:?}");
}

#[test]
fn a_handled_signal_changes_nothing() {
    let lab = lab();
    lab.daemon([wait(500), Act::Hang]);
    let report = lab.run("auth", &["usr1-after=100"]);
    assert_eq!(report.result("auth"), AUTHINFO_UNAVAIL);
    assert!((0.5..2.0).contains(&report.took.as_secs_f32()), "{report:?}");
}

/// Both ends of a TCP connection.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

#[test]
fn sshds_peer_is_told_and_its_hang_up_withdraws() {
    let lab = lab();
    lab.service("sshd-lab", "");
    let left = lab.daemon([wait(20_000), Act::Hang]);
    let (client, accepted) = connection();
    let address = client.local_addr().unwrap();
    let hang_up = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(400));
        drop(client);
        Instant::now()
    });
    let report = report_with_stdin(
        lab.command("sshd-lab", "alice", "auth", &["rhost=liar.example"]),
        Stdio::from(OwnedFd::from(accepted)),
    );
    assert_eq!(report.result("auth"), ABORT);
    let peer = lab.begin().peer.unwrap();
    assert_eq!((peer.address, peer.port), (address.ip(), address.port()));
    let gone = left.recv_timeout(Duration::from_secs(1)).unwrap();
    assert!(gone - hang_up.join().unwrap() < Duration::from_millis(500));
    assert!(report.logged().contains("from \"127.0.0.1\": the client hung up"), "{report:?}");
}

#[test]
fn other_services_have_no_peer() {
    for service in ["lab", "login", "notsshd"] {
        let lab = lab();
        lab.service(service, "");
        lab.daemon([verdict(Outcome::Granted)]);
        let (_client, accepted) = connection();
        let command = lab.command(service, "alice", "auth", &[]);
        let report = report_with_stdin(command, Stdio::from(OwnedFd::from(accepted)));
        assert_eq!(report.result("auth"), SUCCESS);
        assert_eq!(lab.begin().peer, None, "{service}");
    }
}

#[test]
fn two_different_peers_are_none() {
    let lab = lab();
    lab.service("sshd", "");
    lab.daemon([verdict(Outcome::Granted)]);
    let ((_one, first), (_two, second)) = (connection(), connection());
    let mut command = lab.command("sshd", "alice", "auth", &[]);
    command.stderr(Stdio::from(OwnedFd::from(second))).stdout(Stdio::piped());
    command.stdin(Stdio::from(OwnedFd::from(first)));
    let output = command.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("result auth 0"));
    assert_eq!(lab.begin().peer, None);
}

#[test]
fn the_same_peer_twice_is_one() {
    let lab = lab();
    lab.service("sshd", "");
    lab.daemon([verdict(Outcome::Granted)]);
    let (client, first) = connection();
    let second = first.try_clone().unwrap();
    let mut command = lab.command("sshd", "alice", "auth", &[]);
    command.stderr(Stdio::from(OwnedFd::from(second))).stdout(Stdio::piped());
    command.stdin(Stdio::from(OwnedFd::from(first)));
    command.output().unwrap();
    assert_eq!(lab.begin().peer.unwrap().port, client.local_addr().unwrap().port());
}

/// A set-uid program started by nobody, who chose its environment and open files.
#[test]
fn a_set_uid_host_trusts_nothing_of_its_caller() {
    if !lab::is_root() {
        return skip("a set-uid program takes root");
    }
    let lab = lab();
    lab.service("sshd", "");
    lab.daemon([say(), verdict(Outcome::Granted)]);
    let (program, module) = (lab.readable(lab::driver()), lab.readable(&lab::module()));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    lab.stack("sshd", &format!("auth required {} socket={}\n", module.display(), lab.socket().display()));

    let (_client, accepted) = connection();
    let mut command = as_nobody(&program);
    command.arg(lab.path("pam.d")).args(["sshd", "alice", "auth", "tty=\u{202e}x"]);
    command.env_clear().envs([
        (TOKEN_VARIABLE, "forged"),
        ("SSH_AUTH_INFO_0", "publickey forged"),
        ("RUST_BACKTRACE", "full"),
        ("TZ", "/dev/zero"),
        ("PATH", "."),
    ]);
    let report = report_with_stdin(command, Stdio::from(OwnedFd::from(accepted)));
    assert_eq!(report.result("auth"), SUCCESS);
    let begin = lab.begin();
    let Some(command_line) = begin.command_line else {
        return skip("the file system of the temporary directory does not honour set-uid");
    };
    // The driver cuts its options in two in place.
    assert!(command_line.ends_with("pam.d sshd alice auth tty \u{202e}x"), "{command_line}");
    assert_eq!((begin.peer, begin.token, begin.ssh_auth_info), (None, None, None));
}
