use super::*;
use crate::approver::devices::Devices;
use crate::approver::testing::Dir;
use countersign_protocol::notice;
use std::process::Command;

fn never(_: &str) -> Outcome<Zeroizing<String>> {
    panic!("no passphrase is needed")
}

#[test]
fn a_device_comes_back_as_it_was() {
    let dir = Dir::new();
    let mut store = Store::open(dir.path()).unwrap();
    assert!(store.device(None, &never).unwrap().is_none());
    let made = store.create("laptop", None).unwrap();
    let server = ServerEntry { origin: "https://push.example.com".into(), ca: None };
    let host = PinnedHost {
        name: "web1".into(),
        key: "ssh-ed25519 AAAA".into(),
        user: "alice".into(),
        server: server.origin.clone(),
        paired_at: 1,
    };
    store.pin(host.clone(), server.clone()).unwrap();
    store.pin(host.clone(), server.clone()).unwrap();
    assert_eq!(store.next_counter().unwrap(), 1);
    drop(store);

    let mut store = Store::open(dir.path()).unwrap();
    let found = store.device(None, &never).unwrap().unwrap();
    assert_eq!(found.card, made.card);
    assert_eq!(found.seal_key.public(), made.seal_key.public());
    assert_eq!((store.hosts(), store.servers()), (&[host][..], &[server][..]));
    assert_eq!(store.next_counter().unwrap(), 2, "it never steps back");
}

#[test]
fn ssh_keygen_may_put_a_passphrase_on_the_key() {
    let dir = Dir::new();
    let made = Store::open(dir.path()).unwrap().create("laptop", None).unwrap();
    let status = Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "hunter22", "-f"])
        .arg(dir.path().join("id_ed25519"))
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let store = Store::open(dir.path()).unwrap();
    let right = |_: &str| Ok(Zeroizing::new("hunter22".to_owned()));
    assert_eq!(store.device(None, &right).unwrap().unwrap().card, made.card);
    let wrong = |_: &str| Ok(Zeroizing::new("hunter23".to_owned()));
    assert_eq!(store.device(None, &wrong).err().unwrap().exit, Exit::Refused);
}

#[test]
fn keys_that_do_not_belong_to_the_card_are_refused() {
    let dir = Dir::new();
    let mut store = Store::open(dir.path()).unwrap();
    store.create("laptop", None).unwrap();
    let other = SigningKey::generate().to_openssh("x").unwrap();
    store.home.write(file::SIGNING_KEY, other.as_bytes()).unwrap();
    assert!(store.device(None, &never).err().unwrap().message.contains("another key"));
    store.create("laptop", None).unwrap();
    store.home.write(file::SEAL_KEY, Base64::encode_string(&[7; 32]).as_bytes()).unwrap();
    assert!(store.device(None, &never).err().unwrap().message.contains("seal_key"));
}

#[test]
fn closed_ids_survive_and_damage_is_said_with_its_place() {
    let dir = Dir::new();
    let store = Store::open(dir.path()).unwrap();
    let closed = BTreeMap::from([(Key { host: "h".into(), id: "i".into() }, 7)]);
    store.keep_closed(&closed).unwrap();
    assert_eq!(store.closed().unwrap(), closed);
    store.home.write(file::CLOSED, b"[{").unwrap();
    assert!(store.closed().unwrap_err().message.contains("closed.json"));
}

#[test]
fn what_trusted_hosts_said_of_devices_comes_back() {
    let dir = Dir::new();
    let mut store = Store::open(dir.path()).unwrap();
    let keys = [SigningKey::generate(), SigningKey::generate()];
    for key in &keys {
        let host = PinnedHost {
            name: "web1".into(),
            key: key.public_key().to_line(),
            user: "alice".into(),
            server: "https://push.example.com".into(),
            paired_at: 1,
        };
        let server = ServerEntry { origin: host.server.clone(), ca: None };
        store.pin(host, server).unwrap();
    }
    assert!(store.device_lists().unwrap().is_empty());
    let mut devices = Devices::default();
    let notice = notice::fitted("alice", String::new(), None, Vec::new(), 1);
    let host = keys[0].public_key().id();
    devices.hear(&Key { host: host.clone(), id: notice.id.clone() }, &notice, "digest", 1).unwrap();
    store.keep_device_lists(&host, &devices.of(&host)).unwrap();
    let kept = store.device_lists().unwrap();
    assert_eq!(kept.keys().collect::<Vec<_>>(), [&host]);
    assert_eq!(kept[&host].iter().collect::<Vec<_>>(), devices.of(&host));
    let file = dir.path().join(format!("devices-{host}.json"));
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    std::fs::write(&file, b"[{").unwrap();
    assert!(store.device_lists().unwrap_err().message.contains("devices-"));
}
