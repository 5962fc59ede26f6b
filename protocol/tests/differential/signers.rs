//! Approvers files: who may approve, by our reading and by `ssh-keygen`'s.

use crate::common::Lab;
use crate::random::{Random, Tally, cases};
use crate::signer_files::{Aim, file, revoked};
use crate::{DATA, NAMESPACE};
use base64ct::{Base64, Encoding};
use countersign_protocol::certificate::APPROVER_OPTION;
use countersign_protocol::keys::{Signer, SigningKey};
use countersign_protocol::signers::{AllowedSigners, LineFault, Refusal, Revoked};
use countersign_protocol::sshsig::{self, Signed, SshSigError};

/// 2026-06-01 12:00:00 UTC
const NOW: u64 = 1_780_315_200;
const TIME: &str = "-Overify-time=20260601120000Z";
const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// A signature, and the key that has to stand in a file for it.
struct Given {
    armored: String,
    key: String,
    is_authority: bool,
}

/// Arguments of `ssh-keygen -s` beside the names, and how often such a certificate is tried.
const CERTIFICATES: [(&str, &str, usize); 9] = [
    ("20260101Z:20270101Z", "approver", 14),
    ("always:forever", "approver", 4),
    ("20260601120000Z:20260601120001Z", "approver", 1),
    ("20250101Z:20260601120000Z", "approver", 1),
    ("20260601120001Z:20270101Z", "approver", 1),
    ("20260101Z:20270101Z", "host", 1),
    ("20260101Z:20270101Z", "no option", 1),
    ("20260101Z:20270101Z", "another option", 1),
    ("20260101Z:20270101Z", "no principals", 1),
];

fn certificate(lab: &Lab, ca: &str, device: &str, (validity, kind, _): (&str, &str, usize)) -> Vec<u8> {
    let option = format!("critical:{APPROVER_OPTION}");
    let mut args = vec!["-q", "-s", ca, "-I", "id", "-V", validity];
    match kind {
        "no principals" => args.extend(["-O", "clear", "-O", &option]),
        "host" => args.extend(["-h", "-n", "alice,bob"]),
        "no option" => args.extend(["-O", "clear", "-n", "alice,bob"]),
        "another option" => args.extend(["-O", "clear", "-O", "critical:x", "-n", "alice,bob"]),
        _ => args.extend(["-O", "clear", "-O", &option, "-n", "alice,bob"]),
    }
    let public = format!("{device}.pub");
    args.push(&public);
    lab.ok(&args, b"");
    let line = lab.read(&format!("{device}-cert.pub"));
    Base64::decode_vec(line.split(' ').nth(1).unwrap()).unwrap()
}

/// Signatures by keys and by certificates, the good ones several times.
fn signatures(
    lab: &Lab,
    keys: [(&str, &SigningKey); 2],
    authorities: [(&str, &SigningKey); 2],
) -> Vec<Given> {
    let mut all = Vec::new();
    for (name, key) in keys {
        let plain = sshsig::sign(key, NAMESPACE, DATA).unwrap();
        for _ in 0..24 {
            let key = key.public_key().to_line();
            all.push(Given { armored: plain.clone(), key, is_authority: false });
        }
        for (ca, authority) in authorities {
            for made in CERTIFICATES {
                let blob = certificate(lab, ca, name, made);
                let armored = sshsig::sign_with_certificate(key, &blob, NAMESPACE, DATA).unwrap();
                for _ in 0..made.2 {
                    let key = authority.public_key().to_line();
                    all.push(Given { armored: armored.clone(), key, is_authority: true });
                }
            }
        }
    }
    // Over other data, and for another purpose: no file makes them good.
    let key = keys[0].1.public_key().to_line();
    for armored in [sshsig::sign(keys[0].1, NAMESPACE, b"{}"), sshsig::sign(keys[0].1, "decision@y", DATA)] {
        all.push(Given { armored: armored.unwrap(), key: key.clone(), is_authority: false });
    }
    all
}

/// What our side said.
#[derive(Debug)]
enum Ours {
    Good,
    Refused(Refusal),
    File(LineFault),
    RevokedFile,
    Signature,
}

fn judge(file: &str, revoked: Option<&str>, user: &str, signed: &Result<Signed, SshSigError>) -> Ours {
    let Ok(signed) = signed else { return Ours::Signature };
    let Ok(revoked) = Revoked::parse(revoked.unwrap_or_default()) else { return Ours::RevokedFile };
    match AllowedSigners::parse(file) {
        Err(faults) => Ours::File(faults[0].clone()),
        Ok(allowed) => match allowed.authorize(user, NAMESPACE, signed, NOW, &revoked) {
            Ok(()) => Ours::Good,
            Err(refusal) => Ours::Refused(refusal),
        },
    }
}

/// Why something that ssh-keygen takes does not count here.
fn stricter(ours: &Ours, line: &str) -> Option<&'static str> {
    Some(match ours {
        Ours::Refused(Refusal::Expired) => "the moment of valid-before itself",
        Ours::Refused(Refusal::CertificateOptions) => "a certificate that is not for approving",
        Ours::RevokedFile => "a fault in the list of revoked keys",
        Ours::File(fault) => match fault.message.as_str() {
            fault if fault.contains("in UTC, ending in Z") => "a time without Z, or that does not exist",
            fault if fault.contains("a quote is in the principals") => "quotes inside the principals",
            fault if fault.contains("a carriage return or a NUL") => "a carriage return or a NUL byte",
            fault if fault.contains("unknown option \"\"") => "an option without a name",
            fault if fault.contains("base64 is damaged") && line.contains(['\u{b}', '\u{c}']) => {
                "a form feed in a key"
            }
            _ => return None,
        },
        _ => return None,
    })
}

#[test]
fn approvers_files_mean_the_same_here_and_to_ssh_keygen() {
    let lab = Lab::new();
    let (ed25519, p256) = (lab.key("ed25519", "ed25519"), lab.key("p256", "ecdsa"));
    let (ca, ca_p256) = (lab.key("ca", "ed25519"), lab.key("ca256", "ecdsa"));
    lab.ok(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"], b"");
    let given =
        signatures(&lab, [("ed25519", &ed25519), ("p256", &p256)], [("ca", &ca), ("ca256", &ca_p256)]);
    let line = |key: &SigningKey| key.public_key().to_line();
    let mut others =
        vec![line(&ed25519), line(&p256), line(&ca), line(&ca_p256), line(&SigningKey::generate())];
    // One of them is of a type that is not accepted here, and one a certificate.
    let odd = [lab.read("rsa.pub"), lab.read("ed25519-cert.pub")].map(|line| line.trim().to_owned());

    let (mut random, mut tally, cases) = (Random::new(), Tally::default(), cases());
    let plain = others.len();
    for case in 0..cases {
        others.truncate(plain);
        if random.chance(10) {
            others.extend(odd.clone());
        }
        let Given { armored, key, is_authority } = &given[random.below(given.len())];
        // A device's certificate names the first two.
        let user = if random.chance(93) { USERS[random.below(2)] } else { USERS[2] };
        let aim = Aim { user, key, is_authority: *is_authority };
        let (file, revoked) = (file(&mut random, &aim, &others), revoked(&mut random, &aim, &others));
        lab.write("allowed", &file);
        let mut more = vec![TIME];
        if let Some(revoked) = &revoked {
            lab.write("revoked", revoked);
            more.extend(["-r", "revoked"]);
        }
        let theirs = lab.verifies(user, NAMESPACE, armored, DATA, &more);
        let signed = sshsig::verify(armored, NAMESPACE, DATA);
        let ours = judge(&file, revoked.as_deref(), user, &signed);
        let seen = || format!("case {case}, for {user}: {ours:?}: {file:?} {revoked:?}");
        if theirs {
            tally.note("good to ssh-keygen");
        }
        tally.note(match (&ours, theirs) {
            (Ours::Good, true) => {
                assert!(has_empty_pattern(&file) || is_found(&lab), "ssh-keygen finds nobody: {}", seen());
                "good"
            }
            (Ours::Good, false) => panic!("accepted here alone: {}", seen()),
            (_, false) => "bad",
            (_, true) => {
                // A file with a fault counts for nothing; ssh-keygen stops at the line that fits.
                let fits = |line: &&str| {
                    lab.write("allowed", line);
                    lab.verifies(user, NAMESPACE, armored, DATA, &more)
                };
                let line = file.split('\n').find(fits).unwrap_or_else(|| panic!("no line of: {}", seen()));
                match judge(line, revoked.as_deref(), user, &signed) {
                    Ours::Good => "a fault in another line",
                    alone => stricter(&alone, line)
                        .unwrap_or_else(|| panic!("refused here alone: {}: {line:?}", seen())),
                }
            }
        });
    }
    tally.show();
    tally.at_least("good to ssh-keygen", 34, cases);
    tally.at_least("good", 25, cases);
    tally.at_least("bad", 20, cases);
}

/// Whether ssh-keygen finds a principal for the signature that was just verified.
fn is_found(lab: &Lab) -> bool {
    let args = ["-Y", "find-principals", "-f", "allowed", "-s", "signature", TIME];
    lab.ssh_keygen(&args, b"").status.success()
}

/// Where ssh-keygen stops looking for principals that it may print, though not for those that it verifies.
fn has_empty_pattern(file: &str) -> bool {
    let starts = |line: &str| line.trim_start_matches([' ', '\t', '"']).starts_with(',');
    file.contains(",,") || file.lines().any(starts)
}
