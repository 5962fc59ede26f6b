use super::*;
use crate::testing::TestDevice;
use crate::testing::authority::Authority;
use countersign_protocol::keys::{Signer, SigningKey};
use countersign_protocol::sshsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::os::unix::net::UnixDatagram;

struct Place {
    folder: tempfile::TempDir,
    approvers: Approvers,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etc", "own"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let owner = Owner(nix::unistd::geteuid().as_raw());
        let log = Log::to(folder.path().join("no log"), false);
        let (etc, own) = (folder.path().join("etc"), folder.path().join("own"));
        let approvers = Approvers::new((&etc, owner), (&own, owner), log);
        Self { folder, approvers }
    }

    fn write(&self, name: &str, text: &str) {
        files::replace(&self.folder.path().join(name), text.as_bytes()).unwrap();
    }

    fn may(&self, user: &str, key: &SigningKey) -> Result<(), String> {
        let armored = sshsig::sign(key, namespace::DECISION, b"x").unwrap();
        let signed = sshsig::verify(&armored, namespace::DECISION, b"x").unwrap();
        self.approvers.authorize(user, &signed, 1_800_000_000)
    }
}

#[tokio::test]
async fn a_paired_key_decides_for_its_user_until_it_is_revoked() {
    let place = Place::new();
    let (key, other) = (SigningKey::generate(), SigningKey::generate());
    assert!(place.may("alice", &key).is_err());
    place.approvers.add("alice", key.public_key(), "phone").await.unwrap();
    place.approvers.add("alice", key.public_key(), "phone").await.unwrap();
    place.approvers.add("bob", other.public_key(), "phone").await.unwrap();
    assert_eq!(place.may("alice", &key), Ok(()));
    assert!(place.may("bob", &key).is_err() && place.may("alice", &other).is_err());
    let text = std::fs::read_to_string(place.folder.path().join("own/approvers")).unwrap();
    assert_eq!(text.lines().count(), 2);

    place.approvers.revoke(key.public_key()).await.unwrap();
    place.approvers.revoke(key.public_key()).await.unwrap();
    assert!(place.may("alice", &key).unwrap_err().contains("revoked"));
    assert_eq!(place.may("bob", &other), Ok(()));
    assert!(place.approvers.is_revoked(key.public_key()) && !place.approvers.is_revoked(other.public_key()));
    // Not even pairing it again brings it back.
    place.approvers.add("alice", key.public_key(), "phone").await.unwrap();
    assert!(place.may("alice", &key).is_err());
}

#[tokio::test]
async fn a_key_that_is_being_revoked_decides_nothing_for_that_user() {
    let place = Place::new();
    let key = SigningKey::generate();
    for user in ["alice", "bob"] {
        place.approvers.add(user, key.public_key(), "phone").await.unwrap();
    }
    let held = [(); 2].map(|()| place.approvers.hold("alice", key.public_key()));
    for one in held {
        assert!(place.may("alice", &key).unwrap_err().contains("being revoked"));
        assert_eq!(place.may("bob", &key), Ok(()));
        drop(one);
    }
    assert_eq!(place.may("alice", &key), Ok(()));
}

#[tokio::test]
async fn changes_at_once_leave_what_each_of_them_did() {
    let place = Place::new();
    let keys = [(); 6].map(|()| SigningKey::generate());
    let [a, b, c, d, e, f] = keys.each_ref().map(SigningKey::public_key);
    for key in [a, b, c, d] {
        place.approvers.add("alice", key, "phone").await.unwrap();
    }
    let approvers = &place.approvers;
    let done = tokio::join!(
        approvers.revoke(a),
        approvers.add("bob", e, "phone"),
        approvers.revoke(b),
        approvers.remove("alice", c),
        approvers.add("bob", f, "phone"),
    );
    done.0.and(done.1).and(done.2).and(done.3).and(done.4).unwrap();
    assert!(approvers.is_revoked(a) && approvers.is_revoked(b) && !approvers.is_revoked(c));
    let may: Vec<_> =
        keys.iter().map(|key| (place.may("alice", key).is_ok(), place.may("bob", key).is_ok())).collect();
    let nobody = (false, false);
    assert_eq!(may, [nobody, nobody, nobody, (true, false), (false, true), (false, true)]);
}

#[tokio::test]
async fn the_files_never_become_too_long_to_be_read() {
    let place = Place::new();
    let (key, other) = (SigningKey::generate(), SigningKey::generate());
    for comment in ["2026-01-01 phone", "2026-01-02 phone"] {
        place.approvers.add("alice", key.public_key(), comment).await.unwrap();
    }
    let text = std::fs::read_to_string(place.folder.path().join("own/approvers")).unwrap();
    assert!(text.lines().count() == 1 && text.contains("2026-01-02"), "{text}");
    place.approvers.has_room_for_users().unwrap();

    let filled = |size| format!("{text}{}\n", "#".repeat(size - text.len() - 1));
    place.write("own/approvers", &filled(MAX_FILE / 2 + 1));
    assert!(
        place.approvers.has_room_for_users().unwrap_err().to_string().contains("own/approvers is half full")
    );
    place.approvers.add("bob", other.public_key(), "phone").await.unwrap();
    place.write("own/approvers", &filled(MAX_FILE));
    let full = place.approvers.add("bob", other.public_key(), "phone").await.unwrap_err();
    assert!(full.to_string().contains("own/approvers is full"), "{full}");
    assert_eq!(place.may("alice", &key), Ok(()));
    place.approvers.revoke(key.public_key()).await.unwrap();
    assert!(place.may("alice", &key).is_err());
}

#[tokio::test]
async fn a_key_that_is_taken_from_one_user_goes_on_for_the_other() {
    let place = Place::new();
    let (key, other) = (SigningKey::generate(), SigningKey::generate());
    for (user, key) in [("alice", &key), ("alicia", &key), ("bob", &key), ("alice", &other)] {
        place.approvers.add(user, key.public_key(), "alice").await.unwrap();
    }
    place.approvers.remove("alice", key.public_key()).await.unwrap();
    assert!(place.may("alice", &key).unwrap_err().contains("not listed"));
    for (user, key) in [("alicia", &key), ("bob", &key), ("alice", &other)] {
        assert_eq!(place.may(user, key), Ok(()), "{user}");
    }
    assert!(!place.approvers.is_revoked(key.public_key()));
    // It may be paired again.
    place.approvers.add("alice", key.public_key(), "alice").await.unwrap();
    assert_eq!(place.may("alice", &key), Ok(()));
}

#[tokio::test]
async fn a_name_that_is_a_pattern_never_reaches_the_file() {
    let place = Place::new();
    for name in ["*", "a,root", "!root", "a b", "", "root\n"] {
        assert!(place.approvers.add(name, SigningKey::generate().public_key(), "").await.is_err());
    }
    assert!(!place.folder.path().join("own/approvers").exists());
    // Nor does a comment that would be a line of its own.
    let key = SigningKey::generate();
    let comment = format!("x\nroot {}", key.public_key().to_line());
    place.approvers.add("alice", key.public_key(), &comment).await.unwrap();
    assert!(place.may("root", &key).is_err());
}

#[tokio::test]
async fn the_administrators_files_hold_and_changes_are_seen_at_once() {
    let place = Place::new();
    let key = SigningKey::generate();
    let line = key.public_key().to_line();
    place.write("etc/approvers", &format!("alice {line}\n"));
    assert_eq!(place.may("alice", &key), Ok(()));
    place.write("etc/approvers", "# nobody\n");
    assert!(place.may("alice", &key).is_err());
    place.write("etc/approvers", &format!("alice {line}\n"));
    place.write("etc/revoked", &format!("{line}\n"));
    assert!(place.may("alice", &key).is_err());
    std::fs::remove_file(place.folder.path().join("etc/revoked")).unwrap();
    assert_eq!(place.may("alice", &key), Ok(()));
}

#[tokio::test]
async fn a_faulty_file_lets_nobody_in() {
    let place = Place::new();
    let key = SigningKey::generate();
    let line = key.public_key().to_line();
    place.write("etc/approvers", &format!("alice {line}\nthis is no line\n"));
    assert!(place.may("alice", &key).is_err());
    // The other file still counts, but for the revoked keys that nobody can read.
    place.approvers.add("alice", key.public_key(), "").await.unwrap();
    assert_eq!(place.may("alice", &key), Ok(()));
    place.write("etc/revoked", "SHA256:abc\n");
    assert!(place.may("alice", &key).unwrap_err().contains("nobody may approve"));
    assert!(place.approvers.is_revoked(key.public_key()));
    place.write("etc/revoked", "");
    let path = place.folder.path().join("own/approvers");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    assert!(place.may("alice", &key).is_err());
    assert!(place.approvers.add("alice", key.public_key(), "").await.is_err());
}

/// A file that grows with each week's certificates is told of before it is too long.
#[tokio::test]
async fn a_file_of_certificates_that_fills_up_is_told_of() {
    let place = Place::new();
    let (ca, phone) = (Authority::new(), TestDevice::new());
    let now = ca.certify(&phone, &["-n", "alice,oncall"]);
    let old = ca.certify(&phone, &["-V", "-2h:-1h", "-n", "alice,oncall"]);
    let certificates = now + &old.repeat(2);
    let (etc, owner) = (place.folder.path().join("etc"), Owner(nix::unistd::geteuid().as_raw()));
    let syslog = UnixDatagram::bind(place.folder.path().join("log")).unwrap();
    syslog.set_nonblocking(true).unwrap();
    let log = Log::to(place.folder.path().join("log"), false);
    let look = || {
        place.approvers.certificates.content(&log).unwrap();
        let mut line = [0; 1024];
        let length = syslog.recv(&mut line).unwrap_or_default();
        String::from_utf8_lossy(&line[..length]).into_owned()
    };
    place.write("etc/certificates", &certificates);
    assert_eq!((warnings(&etc, owner).len(), look().as_str()), (0, ""));
    place.write("etc/certificates", &(certificates + &"# old ones\n".repeat(MAX_FILE / 20)));
    let said = warnings(&etc, owner).join("");
    assert!(said.contains("etc/certificates: it has 57"), "{said}");
    assert!(said.contains("of its 3 certificates 2 are over"), "{said}");
    assert!(look().contains(&said));
    assert_eq!(look(), "", "once");
    assert!(faults(&etc, owner).is_empty());
}

/// No file of revoked keys is one thing, not to know whether there is one another.
#[tokio::test]
async fn a_folder_that_cannot_be_looked_into_is_not_an_empty_one() {
    let place = Place::new();
    let key = SigningKey::generate();
    place.approvers.add("alice", key.public_key(), "").await.unwrap();
    assert_eq!(place.may("alice", &key), Ok(()));
    let etc = place.folder.path().join("etc");
    std::fs::remove_dir(&etc).unwrap();
    std::fs::write(&etc, "").unwrap();
    assert!(place.may("alice", &key).unwrap_err().contains("nobody may approve"));
    assert!(place.approvers.is_revoked(key.public_key()));
    std::fs::remove_file(&etc).unwrap();
    std::fs::create_dir(&etc).unwrap();
    assert_eq!(place.may("alice", &key), Ok(()));
}

/// Set for the process that this test starts, to be out of descriptors alone.
const ALONE: &str = "COUNTERSIGN_TEST_OUT_OF_DESCRIPTORS";

#[test]
fn what_cannot_be_read_for_a_moment_is_read_again() {
    if std::env::var_os(ALONE).is_none() {
        let name = "approvers::tests::what_cannot_be_read_for_a_moment_is_read_again";
        let mut test = std::process::Command::new(std::env::current_exe().unwrap());
        let done = test.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let place = Place::new();
    let key = SigningKey::generate();
    let line = key.public_key().to_line();
    place.write("etc/approvers", &format!("alice {line}\n"));
    place.write("etc/revoked", "# nobody\n");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let (refused, ended) = (place.may("alice", &key), place.approvers.is_revoked(key.public_key()));
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert!(refused.unwrap_err().contains("nobody may approve") && ended);
    assert_eq!(place.may("alice", &key), Ok(()));
}
