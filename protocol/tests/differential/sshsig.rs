//! Signatures, changed in their fields and in their text.

use crate::common::Lab;
use crate::random::{Random, Tally, cases};
use crate::{DATA, NAMESPACE};
use base64ct::{Base64, Encoding};
use countersign_protocol::certificate::APPROVER_OPTION;
use countersign_protocol::keys::{KeyError, SigningKey};
use countersign_protocol::sshsig::{self, SshSigError};

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

/// The fields of an SSHSIG blob.
#[derive(Clone)]
struct Parts {
    magic: Vec<u8>,
    version: u32,
    key: Vec<u8>,
    namespace: Vec<u8>,
    reserved: Vec<u8>,
    hash: Vec<u8>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    rest: Vec<u8>,
}

impl Parts {
    fn read(armored: &str) -> Self {
        let encoded: String = armored.lines().filter(|line| !line.starts_with('-')).collect();
        let blob = Base64::decode_vec(&encoded).unwrap();
        let mut rest = &blob[10..];
        let mut string = || {
            let (length, tail) = rest.split_first_chunk::<4>().unwrap();
            let (head, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
            rest = tail;
            head.to_vec()
        };
        let (key, namespace, reserved, hash, signature) = (string(), string(), string(), string(), string());
        let length = u32::from_be_bytes(signature[..4].try_into().unwrap()) as usize;
        Self {
            magic: blob[..6].to_vec(),
            version: 1,
            key,
            namespace,
            reserved,
            hash,
            algorithm: signature[4..4 + length].to_vec(),
            signature: signature[8 + length..].to_vec(),
            rest: Vec::new(),
        }
    }

    fn blob(&self) -> Vec<u8> {
        let mut signature = Vec::new();
        put_string(&mut signature, &self.algorithm);
        put_string(&mut signature, &self.signature);
        let mut out = self.magic.clone();
        out.extend_from_slice(&self.version.to_be_bytes());
        for field in [&self.key, &self.namespace, &self.reserved, &self.hash, &signature] {
            put_string(&mut out, field);
        }
        out.extend_from_slice(&self.rest);
        out
    }
}

fn armor(blob: &[u8], width: usize) -> String {
    let encoded = Base64::encode_string(blob);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(width).map(|l| std::str::from_utf8(l).unwrap()).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}

/// One change of a field.
fn change_field(parts: &mut Parts, random: &mut Random, others: &[Parts]) {
    let other = &others[random.below(others.len())];
    match random.below(14) {
        0 => parts.version = *random.one(&[&0, &2, &u32::MAX]),
        1 => parts.key.clone_from(&other.key),
        2 => {
            parts.namespace = random.one(&[&b""[..], b"decision@y", b"decision@x\0", b"decision@xx"]).to_vec()
        }
        3 => parts.reserved = b"x".to_vec(),
        4 => parts.hash = random.one(&[&b"sha256"[..], b"sha1", b"SHA512", b"", b"sha512\0"]).to_vec(),
        5 => parts.algorithm.clone_from(&other.algorithm),
        6 => parts.signature.clone_from(&other.signature),
        7 => parts.rest = b"\0".to_vec(),
        8 => parts.magic = b"SSHSIh".to_vec(),
        9 => add_order(&mut parts.signature),
        10 => widen(&mut parts.signature),
        11 => {
            let at = random.below(parts.signature.len());
            parts.signature[at] ^= 1 << random.below(8);
        }
        12 => {
            let at = random.below(parts.key.len());
            parts.key[at] ^= 1 << random.below(8);
        }
        _ => {
            let at = random.below(parts.signature.len());
            parts.signature.truncate(at);
        }
    }
}

/// The same ed25519 signature in another form: S + L.
fn add_order(signature: &mut [u8]) {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0u16;
    for (byte, l) in signature.iter_mut().skip(32).zip(L) {
        carry += u16::from(*byte) + u16::from(l);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
}

/// The same ECDSA signature in another form: a zero byte before r.
fn widen(signature: &mut Vec<u8>) {
    if let Some(length) = signature.first_chunk::<4>() {
        let length = u32::from_be_bytes(*length).wrapping_add(1);
        signature.splice(..4, length.to_be_bytes());
        signature.insert(4, 0);
    }
}

/// One change of the text.
fn change_text(armored: &str, random: &mut Random) -> String {
    let body = armored.find('\n').unwrap() + 1;
    let at = body + random.below(armored.len() - body - 28);
    let (head, tail) = armored.split_at(at);
    match random.below(13) {
        0 => armored.replace('\n', "\r\n"),
        1 => armored.trim_end().to_owned(),
        2 => format!("{armored}{}", random.one(&["\n\n", "x", " ", "more\n"])),
        3 => format!("{}{armored}", random.one(&["\n", " ", "x", "\u{feff}"])),
        4 => format!("{head}{}{tail}", random.one(&[" ", "\t", "\n", "\n\n", "\r", "\u{b}"])),
        5 => format!("{head}{}{tail}", random.one(&["A", "=", "-", "é", "\0"])),
        6 => format!("{head}{}", &tail[1..]),
        7 => armored.replacen("\n", "", 1),
        8 => armored.replace("\n-----END", "-----END"),
        9 => armored.replace('=', ""),
        10 => armored.replace("SSH SIGNATURE", random.one(&["SSH  SIGNATURE", "ssh signature", "SIGNATURE"])),
        11 => armored.replacen('\n', random.one(&["\n\n", " \n", "\nComment: x\n\n"]), 1),
        _ => armored.replace("-----END", random.one(&["\n-----END", " -----END"])),
    }
}

/// Why a signature that ssh-keygen takes is none here.
fn reason(armored: &str, namespace: &[u8], error: &SshSigError) -> Option<&'static str> {
    Some(match error {
        SshSigError::Hash => "another hash than sha512",
        SshSigError::Key(KeyError::Type(_)) => "a key of another type",
        SshSigError::Malformed("its reserved field is in use") => "the reserved field is used",
        SshSigError::Malformed("it is of another version") => "a version before the first",
        // ssh-keygen passes over what stands after the last line, and blanks anywhere in the base64.
        SshSigError::Malformed("its first or last line is missing") => "text around the armor",
        SshSigError::Malformed("its base64 is damaged")
            if armored.contains([' ', '\t', '\u{b}']) || !armored.contains("\n-----END") =>
        {
            "blanks in the base64"
        }
        SshSigError::Namespace if namespace.ends_with(b"\0") => "a NUL at the end of the namespace",
        // S + L, and numbers with more zeros than they need.
        SshSigError::Signature => "a second form of a signature",
        SshSigError::Certificate(_) => "a certificate out of order",
        _ => return None,
    })
}

/// A lab with keys of each type, and a certificate of the device.
struct Keys {
    lab: Lab,
    ed25519: SigningKey,
    p256: SigningKey,
    certificate: Vec<u8>,
}

fn keys() -> Keys {
    let lab = Lab::new();
    let (ed25519, p256) = (lab.key("ed25519", "ed25519"), lab.key("p256", "ecdsa"));
    lab.key("ca", "ed25519");
    let option = format!("critical:{APPROVER_OPTION}");
    let args = ["-q", "-s", "ca", "-I", "id", "-n", "alice,bob", "-V", "20260101Z:20270101Z", "-O", "clear"];
    lab.ok(&[&args[..], &["-O", &option, "ed25519.pub"]].concat(), b"");
    let line = lab.read("ed25519-cert.pub");
    let certificate = Base64::decode_vec(line.split(' ').nth(1).unwrap()).unwrap();
    Keys { lab, ed25519, p256, certificate }
}

#[test]
fn signatures_mean_the_same_here_and_to_ssh_keygen() {
    let Keys { lab, ed25519, p256, certificate } = keys();
    lab.write("data", DATA);
    lab.ok(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "rsa"], b"");
    let mut good = vec![
        sshsig::sign(&ed25519, NAMESPACE, DATA).unwrap(),
        sshsig::sign(&p256, NAMESPACE, DATA).unwrap(),
        sshsig::sign_with_certificate(&ed25519, &certificate, NAMESPACE, DATA).unwrap(),
    ];
    for (key, hash) in [("ed25519", "sha256"), ("p256", "sha512"), ("rsa", "sha512")] {
        lab.ok(&["-q", "-Y", "sign", &format!("-Ohashalg={hash}"), "-n", NAMESPACE, "-f", key, "data"], b"");
        good.push(lab.read("data.sig"));
        std::fs::remove_file(lab.path("data.sig")).unwrap();
    }
    let parts: Vec<Parts> = good.iter().map(|armored| Parts::read(armored)).collect();

    let (mut random, mut tally, cases) = (Random::new(), Tally::default(), cases());
    for case in 0..cases {
        let from = random.below(good.len());
        let mut armored = good[from].clone();
        let mut changed = parts[from].clone();
        if random.chance(60) {
            (0..random.below(2) + 1).for_each(|_| change_field(&mut changed, &mut random, &parts));
            armored = armor(&changed.blob(), *random.one(&[&70, &64, &76, &4000]));
        }
        if random.chance(50) {
            armored = change_text(&armored, &mut random);
        }
        lab.write("signature", &armored);
        let args = ["-Y", "check-novalidate", "-n", NAMESPACE, "-s", "signature"];
        let theirs = lab.ssh_keygen(&args, DATA).status.success();
        let ours = sshsig::verify(&armored, NAMESPACE, DATA);
        tally.note(match (&ours, theirs) {
            (Ok(_), true) => "good",
            (Err(_), false) => "bad",
            (Ok(_), false) => panic!("case {case}: accepted here alone: {armored:?}"),
            (Err(error), true) => reason(&armored, &changed.namespace, error)
                .unwrap_or_else(|| panic!("case {case}: refused here alone: {error:?}: {armored:?}")),
        });
    }
    tally.show();
    tally.at_least("good", 10, cases);
    tally.at_least("bad", 20, cases);
}
