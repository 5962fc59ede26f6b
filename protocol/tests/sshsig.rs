//! SSHSIG, keys and approvers files, in both directions against `ssh-keygen`.

mod common;

use common::Lab;
use countersign_protocol::keys::{KeyError, PublicKey, Signer, SigningKey};
use countersign_protocol::message::namespace;
use countersign_protocol::signers::{AllowedSigners, Line, Refusal, Revoked};
use countersign_protocol::sshsig::{self, SshSigError};

const DATA: &[u8] = b"{\"version\":1}";

#[test]
fn ssh_keygen_verifies_what_is_signed_here() {
    let lab = Lab::new();
    let ours = SigningKey::generate();
    lab.put_key("ours", &ours);
    let p256 = lab.key("p256", "ecdsa");
    let ed25519 = lab.key("ed25519", "ed25519");
    for key in [&ours, &p256, &ed25519] {
        let line = Line::new("alice", key.public_key().clone(), "a phone").unwrap();
        lab.write("allowed", format!("{line}\n"));
        // ECDSA: enough signatures to meet numbers with a high first bit and a zero first byte.
        for i in 0..20u8 {
            let data = [DATA, &[i]].concat();
            let signature = sshsig::sign(key, namespace::DECISION, &data).unwrap();
            assert!(lab.verifies("alice", namespace::DECISION, &signature, &data, &[]));
            if i == 0 {
                assert!(!lab.verifies("alice", namespace::DECISION, &signature, b"other", &[]));
                assert!(!lab.verifies("alice", namespace::REQUEST, &signature, &data, &[]));
                assert!(!lab.verifies("bob", namespace::DECISION, &signature, &data, &[]));
                let found = lab.ok(&["-Y", "find-principals", "-s", "signature", "-f", "allowed"], b"");
                assert_eq!(found, "alice\n");
            }
        }
    }
}

#[test]
fn what_ssh_keygen_signs_verifies_here() {
    let lab = Lab::new();
    lab.write("data", DATA);
    for kind in ["ed25519", "ecdsa"] {
        let key = lab.key(kind, kind);
        for _ in 0..10 {
            lab.ok(&["-q", "-Y", "sign", "-n", namespace::REQUEST, "-f", kind, "data"], b"");
            let armored = lab.read("data.sig");
            std::fs::remove_file(lab.path("data.sig")).unwrap();
            let signed = sshsig::verify(&armored, namespace::REQUEST, DATA).unwrap();
            assert_eq!(signed.key, *key.public_key());
            assert_eq!(signed.certificate, None);
            assert_eq!(sshsig::verify(&armored, namespace::DECISION, DATA), Err(SshSigError::Namespace));
            assert_eq!(sshsig::verify(&armored, namespace::REQUEST, b"x"), Err(SshSigError::Signature));
        }
    }
    // Armored the same way, down to the byte: ed25519 is deterministic.
    let key = SigningKey::from_openssh(&lab.read("ed25519"), None).unwrap();
    lab.ok(&["-q", "-Y", "sign", "-n", namespace::REQUEST, "-f", "ed25519", "data"], b"");
    assert_eq!(lab.read("data.sig"), sshsig::sign(&key, namespace::REQUEST, DATA).unwrap());
}

#[test]
fn other_hashes_and_key_types_are_refused() {
    let lab = Lab::new();
    lab.write("data", DATA);
    lab.key("ed25519", "ed25519");
    lab.ok(&["-q", "-Y", "sign", "-Ohashalg=sha256", "-n", "x", "-f", "ed25519", "data"], b"");
    assert_eq!(sshsig::verify(&lab.read("data.sig"), "x", DATA), Err(SshSigError::Hash));
    std::fs::remove_file(lab.path("data.sig")).unwrap();
    lab.ok(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"], b"");
    lab.ok(&["-q", "-Y", "sign", "-n", "x", "-f", "rsa", "data"], b"");
    let refused = sshsig::verify(&lab.read("data.sig"), "x", DATA);
    assert!(matches!(refused, Err(SshSigError::Key(KeyError::Type(name))) if name == "ssh-rsa"));
    assert!(matches!(SigningKey::from_openssh(&lab.read("rsa"), None), Err(KeyError::Type(_))));
    lab.ok(&["-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", "p384"], b"");
    assert!(matches!(SigningKey::from_openssh(&lab.read("p384"), None), Err(KeyError::Type(_))));
    assert!(matches!(PublicKey::from_openssh(&lab.read("p384.pub")), Err(KeyError::Type(_))));
}

#[test]
fn damaged_armor_is_refused() {
    let key = SigningKey::generate();
    let good = sshsig::sign(&key, "x", DATA).unwrap();
    assert!(sshsig::verify(good.trim_end(), "x", DATA).is_ok());
    let long = format!("{good}{}", "\n".repeat(sshsig::MAX_ARMORED));
    let body: Vec<&str> = good.lines().collect();
    let cut = [&body[..2], &body[3..]].concat().join("\n");
    for bad in [
        "",
        "-----BEGIN SSH SIGNATURE-----",
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
        &good.replace("BEGIN", "BEGAN"),
        &good.replace("-----END", "----END"),
        &format!("x{good}"),
        &format!("{good}x"),
        &good.replace('\n', "\r\n"),
        &good.replacen('A', "*", 1),
        &long,
        &cut,
    ] {
        assert!(matches!(sshsig::verify(bad, "x", DATA), Err(SshSigError::Malformed(_))), "{bad}");
    }
    // No bit of it is free.
    let bytes = good.as_bytes();
    for i in 30..good.len() - 28 {
        for bit in [1u8, 4] {
            let mut changed = bytes.to_vec();
            changed[i] ^= bit;
            if let Ok(text) = String::from_utf8(changed) {
                assert!(sshsig::verify(&text, "x", DATA).is_err(), "byte {i}");
            }
        }
    }
}

#[test]
fn private_keys_with_passphrase() {
    let lab = Lab::new();
    for kind in ["ed25519", "ecdsa"] {
        lab.ok(&["-q", "-t", kind, "-N", "correct horse", "-f", kind], b"");
        let pem = lab.read(kind);
        assert_eq!(SigningKey::from_openssh(&pem, None).err(), Some(KeyError::Encrypted));
        assert_eq!(SigningKey::from_openssh(&pem, Some(b"wrong")).err(), Some(KeyError::Passphrase));
        let key = SigningKey::from_openssh(&pem, Some(b"correct horse")).unwrap();
        assert_eq!(*key.public_key(), lab.public(kind));
        // Written without, ssh-keygen reads it.
        lab.put_key("out", &key);
        assert!(lab.ok(&["-y", "-f", "out"], b"").starts_with(&key.public_key().to_line()));
    }
    assert!(matches!(SigningKey::from_openssh("junk", None), Err(KeyError::Private(_))));
}

#[test]
fn names_of_keys_are_openssh_s() {
    let lab = Lab::new();
    for kind in ["ed25519", "ecdsa"] {
        let key = lab.key(kind, kind);
        let printed = lab.ok(&["-l", "-f", &format!("{kind}.pub")], b"");
        assert_eq!(printed.split(' ').nth(1), Some(key.public_key().fingerprint().as_str()));
        let line = lab.read(&format!("{kind}.pub"));
        assert!(line.starts_with(&format!("{} ", key.public_key().to_line())));
        assert!(PublicKey::from_line(line.trim()).is_err(), "a comment is another spelling");
        assert_eq!(PublicKey::from_line(&key.public_key().to_line()).unwrap(), *key.public_key());
        let id = key.public_key().id();
        let fingerprint = key.public_key().fingerprint();
        assert_eq!(format!("SHA256:{}", id.replace('-', "+").replace('_', "/")), fingerprint);
    }
}

#[test]
fn a_file_means_the_same_here_and_to_ssh_keygen() {
    let lab = Lab::new();
    let key = lab.key("key", "ed25519");
    let other = lab.key("other", "ed25519");
    let line = key.public_key().to_line();
    let elsewhere = other.public_key().to_line();
    let signature = sshsig::sign(&key, "n@x", DATA).unwrap();
    let signed = sshsig::verify(&signature, "n@x", DATA).unwrap();
    // 2026-06-01 12:00:00 UTC
    let (now, verify_time) = (1_780_315_200, "-Overify-time=20260601120000Z");
    for (file, user, accepted) in [
        (format!("alice {line}"), "alice", true),
        (format!("# comment\n\n  alice\t{line} some comment\n"), "alice", true),
        (format!("alice {line}"), "bob", false),
        (format!("bob,a* {line}"), "alice", true),
        (format!("*,!alice {line}"), "alice", false),
        (format!("*,!alice {line}"), "bob", true),
        (format!("\"alice\" {line}"), "alice", true),
        (format!("alice {elsewhere}\nalice {line}"), "alice", true),
        (format!("alice {elsewhere}"), "alice", false),
        (format!("alice namespaces=\"n@x\" {line}"), "alice", true),
        (format!("alice namespaces=\"o@x,n@*\" {line}"), "alice", true),
        (format!("alice namespaces=\"o@x\" {line}"), "alice", false),
        (format!("alice NAMESPACES=\"o@x\" {line}\nalice {line}"), "alice", true),
        (format!("alice valid-after=\"20260601Z\" {line}"), "alice", true),
        (format!("alice valid-after=\"20260602Z\" {line}"), "alice", false),
        (format!("alice valid-before=\"202606011201Z\" {line}"), "alice", true),
        (format!("alice valid-before=\"20260601115959Z\" {line}"), "alice", false),
        (
            format!("alice valid-after=\"20260101Z\",valid-before=\"20270101Z\",namespaces=\"n@x\" {line}"),
            "alice",
            true,
        ),
        (format!("alice cert-authority {line}"), "alice", false),
        (String::new(), "alice", false),
    ] {
        lab.write("allowed", &file);
        let theirs = lab.verifies(user, "n@x", &signature, DATA, &[verify_time]);
        let ours =
            AllowedSigners::parse(&file).unwrap().authorize(user, "n@x", &signed, now, &Revoked::default());
        assert_eq!((theirs, ours.is_ok()), (accepted, accepted), "{user}: {file} {ours:?}");
    }
}

#[test]
fn refusals_say_why() {
    let key = SigningKey::generate();
    let line = key.public_key().to_line();
    let signed = sshsig::verify(&sshsig::sign(&key, "n", DATA).unwrap(), "n", DATA).unwrap();
    for (file, user, refusal) in [
        (format!("bob {line}"), "alice", Refusal::NotListed),
        (format!("alice namespaces=\"m\" {line}"), "alice", Refusal::Namespace),
        (format!("alice valid-after=\"20300101Z\" {line}"), "alice", Refusal::NotYet),
        (format!("alice valid-before=\"20000101Z\" {line}"), "alice", Refusal::Expired),
        (format!("* {line}"), "*", Refusal::Principal),
        (format!("* {line}"), "a,root", Refusal::Principal),
        (format!("* {line}"), "", Refusal::Principal),
    ] {
        let allowed = AllowedSigners::parse(&file).unwrap();
        let refused = allowed.authorize(user, "n", &signed, 1_800_000_000, &Revoked::default());
        assert_eq!(refused, Err(refusal), "{file}");
    }
}

#[test]
fn faults_are_located_and_what_ssh_keygen_refuses_is_one() {
    let lab = Lab::new();
    let key = lab.key("key", "ed25519");
    let line = key.public_key().to_line();
    let signature = sshsig::sign(&key, "n", DATA).unwrap();
    let ours_alone = ["alice valid-after=\"20260101\" ", "alice verify-required "];
    for bad in [
        "alice unknown-option ",
        "alice namespaces=n ",
        "alice namespaces=\"n ",
        "alice namespaces=\"n\",namespaces=\"n\" ",
        "alice cert-authority=\"x\" ",
        "alice namespaces ",
        "alice valid-after=\"2026010Z\" ",
        "alice valid-after=\"19700101Z\" ",
        "alice valid-after=\"20270101Z\",valid-before=\"20260101Z\" ",
        "\"alice ",
        // To OpenSSH this is everybody but alice.
        "*,!\"alice\" ",
        "\ralice ",
        "alice namespaces=\"n\",",
        ours_alone[0],
        ours_alone[1],
    ] {
        let file = format!("# first\nbob {line}\n{bad}{line}\n");
        let faults = AllowedSigners::parse(&file).unwrap_err();
        assert_eq!(faults.len(), 1, "{bad}");
        assert_eq!(faults[0].line, 3, "{bad}");
        lab.write("allowed", &file);
        if !ours_alone.contains(&bad) {
            assert!(!lab.verifies("alice", "n", &signature, DATA, &[]), "{bad}");
        }
    }
    for bad in [
        "alice",
        "alice ssh-ed25519",
        "alice ssh-ed25519 AAAA",
        "alice ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAQ==",
    ] {
        assert_eq!(AllowedSigners::parse(bad).unwrap_err()[0].line, 1, "{bad}");
    }
    let many = "junk\n".repeat(1000);
    assert!(AllowedSigners::parse(&many).unwrap_err().len() <= 20);
    assert!(AllowedSigners::parse(&" ".repeat(2 << 20)).is_err());
}

#[test]
fn bad_names_never_reach_a_file_and_comments_are_inert() {
    let key = SigningKey::generate().public_key().clone();
    for bad in ["*", "a,root", "!root", "", "a b", "root\nmallory ssh-ed25519 AAAA", "a\"b", "-x", "a?", "#x"]
    {
        assert!(Line::new(bad, key.clone(), "").is_err(), "{bad:?}");
    }
    let line = Line::new("alice", key.clone(), "phone\nroot cert-authority \x1b[2J").unwrap().to_string();
    assert_eq!(line.lines().count(), 1);
    assert!(!line.contains('\x1b'));
    assert_eq!(AllowedSigners::parse(&line).unwrap().len(), 1);
}

#[test]
fn revoked_keys_count_for_nothing_here_and_there() {
    let lab = Lab::new();
    let key = lab.key("key", "ed25519");
    let other = lab.key("other", "ecdsa");
    lab.ok(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"], b"");
    let file = format!("alice {}\nalice {}\n", key.public_key().to_line(), other.public_key().to_line());
    lab.write("allowed", &file);
    let allowed = AllowedSigners::parse(&file).unwrap();
    let list = format!("# lost\n{} phone\n\n{}", key.public_key().to_line(), lab.read("rsa.pub"));
    lab.write("revoked", &list);
    let revoked = Revoked::parse(&list).unwrap();
    for (key, accepted) in [(&key, false), (&other, true)] {
        let signature = sshsig::sign(key, "n", DATA).unwrap();
        let signed = sshsig::verify(&signature, "n", DATA).unwrap();
        assert_eq!(lab.verifies("alice", "n", &signature, DATA, &["-r", "revoked"]), accepted);
        let ours = allowed.authorize("alice", "n", &signed, 1, &revoked);
        assert_eq!(ours, if accepted { Ok(()) } else { Err(Refusal::Revoked) });
    }
    assert!(revoked.contains(key.public_key()) && !revoked.contains(other.public_key()));
    // Such a line makes ssh-keygen refuse every key; here it is a fault.
    for bad in [
        key.public_key().fingerprint(),
        "junk".into(),
        " \r\n".into(),
        "ssh-ed25519 AAAAC3Nz".into(),
        "ssh-rsa AAAAC3NzaC1lZDI1NTE5".into(),
    ] {
        assert_eq!(Revoked::parse(&format!("\n{bad}")).unwrap_err()[0].line, 2, "{bad}");
    }
}
