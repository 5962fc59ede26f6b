//! The daemon's own files: it never starts with what it cannot read, and loses nothing.

use countersign_fuzz::{Target, actors, check, input::Input, place::Place};
use countersign_protocol::audit::{self, Chain, MAX_LINE, Record};
use countersign_protocol::keys::Signer;
use countersign_protocol::message::namespace::DECISION;
use countersign_protocol::sshsig;
use countersignd::approvers::Approvers;
use countersignd::audit::{Audit, Durability};
use countersignd::budget::Budget;
use countersignd::devices::Devices;
use countersignd::files::Owner;
use countersignd::host_key;
use countersignd::leases::Leases;
use countersignd::log::Log;
use countersignd::recovery::Recovery;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use tokio::runtime::Runtime;

pub(crate) const TARGET: Target = Target { name: "daemon_state", run, seeds };

struct Lab {
    place: Place,
    runtime: Runtime,
    owner: Owner,
    log: Log,
    lines: UnixDatagram,
}

fn lab() -> Lab {
    let place = Place::new();
    let lines = UnixDatagram::bind(place.path("log")).expect("a socket");
    lines.set_nonblocking(true).expect("a socket");
    let log = Log::to(place.path("log"), false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    Lab { place, runtime, owner: Owner(nix::unistd::geteuid().as_raw()), log, lines }
}

fn run(data: &[u8]) {
    thread_local!(static LAB: Lab = lab());
    let mut input = Input::new(data);
    let (what, content) = (input.byte(), input.rest());
    LAB.with(|lab| {
        let told = match what {
            b'd' => Devices::open(&lab.place.write("devices.json", content), lab.owner).map(drop),
            b'b' => budget(lab, content),
            b'r' => {
                let budget = Budget::open(&lab.place.path("no budget"), lab.owner).expect("none is empty");
                let path = lab.place.write("recovery.json", content);
                let codes = Recovery::open(&path, lab.owner, Rc::new(budget));
                codes.map(|codes| assert!(codes.left("alice") as usize <= content.len()))
            }
            b'k' => {
                let path = lab.place.write("host_key", content);
                host_key::load_or_create(&path, lab.owner, "host").map(|key| {
                    assert_eq!(std::fs::read(&path).expect("own file"), content, "a key is never replaced");
                    drop(key);
                })
            }
            b'a' => approvers(lab, content),
            b'e' => {
                leases(lab, content);
                Ok(())
            }
            _ => audit(lab, content),
        };
        if let Err(error) = told {
            check::is_inert_of_any_length(&countersign_protocol::text::escape(&error.to_string()));
            assert!(error.to_string().contains('/'), "the file is not named: {error}");
        }
        let mut line = [0; 64 * 1024];
        while let Ok(length) = lab.lines.recv(&mut line) {
            check::is_inert_of_any_length(&String::from_utf8_lossy(&line[..length]));
        }
    });
}

fn budget(lab: &Lab, content: &[u8]) -> std::io::Result<()> {
    let budget = Budget::open(&lab.place.write("budget.json", content), lab.owner)?;
    // More than may be tried in a day, whatever the file says of other days.
    let mut granted = 0;
    for _ in 0..6 {
        granted += usize::from(lab.runtime.block_on(budget.take("alice", |_| true))?.is_ok());
    }
    assert!(granted <= 5, "{granted} tries at once");
    Ok(())
}

/// Whatever is there, a daemon starts: what it cannot read costs leases.
fn leases(lab: &Lab, content: &[u8]) {
    let path = lab.place.write("leases.json", content);
    let boot = Some("b".to_owned());
    let leases = Leases::open(&path, lab.owner, boot, &lab.log);
    assert!(leases.all().len() <= content.len());
    assert!(leases.all().iter().all(|lease| !lease.is_over("b") && lease.is_over("another boot")));
    assert!(Leases::open(&path, lab.owner, None, &lab.log).all().is_empty());
}

/// Both files, separated by a NUL.
fn approvers(lab: &Lab, content: &[u8]) -> std::io::Result<()> {
    let mut parts = content.splitn(2, |byte| *byte == 0);
    lab.place.write("approvers", parts.next().unwrap_or_default());
    lab.place.write("revoked", parts.next().unwrap_or_default());
    let (folder, nobody) = (lab.place.path(""), lab.place.path("nobody"));
    let approvers = Approvers::new((&folder, lab.owner), (&nobody, lab.owner), lab.log.clone());
    let key = actors::device();
    let signed = sshsig::sign(&key, DECISION, b"x").expect("signed");
    let signed = sshsig::verify(&signed, DECISION, b"x").expect("signed a moment ago");
    let allowed = approvers.authorize("alice", &signed, actors::NOW);
    assert!(allowed.is_err() || !approvers.is_revoked(key.public_key()));
    if let Err(why) = allowed {
        check::is_inert_of_any_length(&why);
    }
    Ok(())
}

fn audit(lab: &Lab, content: &[u8]) -> std::io::Result<()> {
    let path = lab.place.write("audit.jsonl", content);
    let opened = Audit::open(&path, lab.owner, &lab.log);
    let written = opened.and_then(|audit| {
        let record = Record { event: "x".into(), ..Record::default() };
        lab.runtime.block_on(audit.append(record, Durability::Later)).map(drop)
    });
    let kept = std::fs::read(&path).expect("own file");
    let torn = lab.place.take(".torn-");
    if written.is_err() {
        assert!(kept == content && torn.is_empty(), "a file that is refused is left alone");
        return written;
    }
    let torn = torn.concat();
    assert!(content.ends_with(&torn) && torn.len() <= 2 * (MAX_LINE + 1));
    let whole = &content[..content.len() - torn.len()];
    assert!(kept.starts_with(whole), "nothing that was there is lost");
    // What was added follows what was there.
    let last = whole.strip_suffix(b"\n").unwrap_or_default().rsplit(|byte| *byte == b'\n').next();
    let last = last.filter(|line| !line.is_empty()).map(|line| std::str::from_utf8(line).expect("a record"));
    let chain = last.map_or_else(Chain::new, |line| Chain::after(line).expect("a record"));
    let added = std::str::from_utf8(&kept[whole.len()..]).expect("text").lines();
    audit::verify(chain, added).expect("it follows");
    Ok(())
}

fn seeds() -> Vec<Vec<u8>> {
    let card = serde_json::to_string(&actors::signed_card()).expect("JSON");
    let devices = format!(
        "{{\"devices\":[{{\"user\":\"alice\",\"card\":{card},\"paired_at\":1,\"last_used_at\":2,\"counter\":3}}],\"former\":[\"bob\"]}}"
    );
    let mut chain = Chain::new();
    let line = |chain: &mut Chain| {
        chain.append(Record { event: "login".into(), ..Record::default() }).expect("short")
    };
    let log = format!("{}\n{}\n", line(&mut chain), line(&mut chain));
    let key = actors::host().to_openssh("host").expect("written");
    [
        format!("d{devices}"),
        "b{\"high_water\":1800000000,\"users\":{\"alice\":[1,2,3,18446744073709551615]}}".into(),
        "r{\"users\":{\"alice\":{\"made_at\":1,\"salt\":\"AAAAAAAAAAAAAAAAAAAAAA==\",\"memory_kib\":8192,\"passes\":3,\
         \"codes\":[{\"hash\":\"AAAA\",\"used_at\":2},{\"hash\":\"x\"}]}}}"
            .into(),
        format!("k{}", &*key),
        format!("a{}\n\0{}\n", actors::approvers(), actors::p256().public_key().to_line()),
        "e[{\"id\":\"00\",\"request\":\"\",\"request_signature\":\"\",\"decision\":\"\",\"decision_signature\":\"\",\
         \"device\":\"\",\"person\":\"alice\",\"boot\":\"b\",\"since\":0,\"until\":18446744073709551615,\"most_uses\":2,\"used\":0,\
         \"binding\":{\"user\":\"alice\",\"uid\":1,\"service\":\"sshd\",\"requester\":null,\"place\":{\"remote\":{\"address\":\"\",\"key\":\"\"}}}}]"
            .into(),
        format!("l{log}"),
        format!("l{}", &log[..log.len() - 30]),
        format!("l{log}\0\0\0\n"),
        "l{\"version\":1".into(),
    ]
    .map(String::into_bytes)
    .into()
}
