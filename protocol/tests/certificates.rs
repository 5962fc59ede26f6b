//! Device certificates made by `ssh-keygen -s`.

mod common;

use common::Lab;
use countersign_protocol::certificate::{APPROVER_OPTION, CertificateError};
use countersign_protocol::keys::{Signer, SigningKey};
use countersign_protocol::message::namespace::DECISION;
use countersign_protocol::signers::{AllowedSigners, Certificates, Refusal, Revoked};
use countersign_protocol::sshsig::{self, Signed, SshSigError};

const DATA: &[u8] = b"{}";
/// 2026-06-01 12:00:00 UTC
const NOW: u64 = 1_780_315_200;

struct Fleet {
    lab: Lab,
    ca: SigningKey,
    device: SigningKey,
}

impl Fleet {
    fn new() -> Self {
        Self::of("ed25519", "ed25519")
    }

    fn of(ca: &str, device: &str) -> Self {
        let lab = Lab::new();
        let ca = lab.key("ca", ca);
        let device = lab.key("device", device);
        Self { lab, ca, device }
    }

    /// A signature that brings along a certificate made with these arguments.
    fn signed(&self, args: &[&str]) -> Result<Signed, SshSigError> {
        sshsig::verify(&self.armored(args), DECISION, DATA)
    }

    fn armored(&self, args: &[&str]) -> String {
        let mut all = vec!["-q", "-s", "ca", "-I", "device of alice"];
        all.extend_from_slice(args);
        all.push("device.pub");
        self.lab.ok(&all, b"");
        self.lab.write("data", DATA);
        let _ = std::fs::remove_file(self.lab.path("data.sig"));
        self.lab.ok(&["-q", "-Y", "sign", "-n", DECISION, "-f", "device-cert.pub", "data"], b"");
        self.lab.read("data.sig")
    }

    fn authorize(&self, file: &str, signed: &Signed) -> Result<(), Refusal> {
        AllowedSigners::parse(file).unwrap().authorize("alice", DECISION, signed, NOW, &Revoked::default())
    }

    fn authority(&self) -> String {
        format!("* cert-authority,namespaces=\"{DECISION}\" {}\n", self.ca.public_key().to_line())
    }
}

fn option() -> String {
    format!("critical:{APPROVER_OPTION}")
}

#[test]
fn a_device_certificate_approves_through_its_authority() {
    for (ca, device) in [("ed25519", "ed25519"), ("ecdsa", "ecdsa"), ("ecdsa", "ed25519")] {
        let fleet = Fleet::of(ca, device);
        let args =
            ["-n", "alice,bob", "-V", "20260101Z:20270101Z", "-z", "7", "-O", "clear", "-O", &option()];
        let signed = fleet.signed(&args).unwrap();
        let certificate = signed.certificate.as_ref().unwrap();
        assert_eq!(certificate.key(), fleet.device.public_key());
        assert_eq!(certificate.ca(), fleet.ca.public_key());
        assert_eq!((certificate.key_id(), certificate.serial()), ("device of alice", 7));
        assert_eq!(fleet.authorize(&fleet.authority(), &signed), Ok(()));
        // ssh-keygen agrees about our own signature with the same certificate.
        let blob = fleet.lab.read("device-cert.pub");
        let blob = base64(blob.split(' ').nth(1).unwrap());
        let ours = sshsig::sign_with_certificate(&fleet.device, &blob, DECISION, DATA).unwrap();
        fleet.lab.write("allowed", fleet.authority());
        assert!(fleet.lab.verifies("alice", DECISION, &ours, DATA, &["-Overify-time=20260601Z"]));
        assert_eq!(sshsig::verify(&ours, DECISION, DATA).unwrap(), signed);
        assert!(sshsig::sign_with_certificate(&fleet.ca, &blob, DECISION, DATA).is_err());
    }
}

#[test]
fn other_certificates_do_not() {
    let fleet = Fleet::new();
    let option = option();
    let valid = ["-V", "20260101Z:20270101Z"];
    let with =
        |rest: &[&str]| [&valid[..], rest].concat().iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    for (args, refusal) in [
        (with(&["-n", "alice"]), Refusal::CertificateOptions),
        (with(&["-n", "alice", "-O", "clear"]), Refusal::CertificateOptions),
        (with(&["-n", "alice", "-O", &option, "-O", "force-command=/bin/true"]), Refusal::CertificateOptions),
        (with(&["-n", "alice", "-O", &option, "-O", "critical:zz@example.com"]), Refusal::CertificateOptions),
        (with(&["-n", "alice", "-O", &format!("{option}=later")]), Refusal::CertificateOptions),
        (with(&["-n", "alice", "-O", "extension:approver@countersign.org"]), Refusal::CertificateOptions),
        (with(&["-n", "bob", "-O", &option]), Refusal::CertificatePrincipal),
        (with(&["-n", "*", "-O", &option]), Refusal::CertificatePrincipal),
        (with(&["-O", &option]), Refusal::CertificatePrincipal),
        (with(&["-h", "-n", "alice"]), Refusal::CertificateType),
        (
            ["-V", "20200101Z:20210101Z", "-n", "alice", "-O", &option].map(str::to_owned).to_vec(),
            Refusal::CertificateTime,
        ),
        (
            ["-V", "20300101Z:20310101Z", "-n", "alice", "-O", &option].map(str::to_owned).to_vec(),
            Refusal::CertificateTime,
        ),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let signed = fleet.signed(&args).unwrap();
        assert_eq!(fleet.authorize(&fleet.authority(), &signed), Err(refusal), "{args:?}");
    }
}

#[test]
fn the_line_decides_whether_a_certificate_or_a_key_is_meant() {
    let fleet = Fleet::new();
    let good = ["-n", "alice", "-V", "20260101Z:20270101Z", "-O", &option()];
    let signed = fleet.signed(&good).unwrap();
    let bare = sshsig::verify(&sshsig::sign(&fleet.device, DECISION, DATA).unwrap(), DECISION, DATA).unwrap();
    let by_ca = sshsig::verify(&sshsig::sign(&fleet.ca, DECISION, DATA).unwrap(), DECISION, DATA).unwrap();
    let device = format!("alice {}\n", fleet.device.public_key().to_line());
    let device_as_ca = format!("alice cert-authority {}\n", fleet.device.public_key().to_line());
    let ca_as_device = format!("alice {}\n", fleet.ca.public_key().to_line());
    for (file, signed, result) in [
        (&device, &signed, Err(Refusal::CertificateOnPlainLine)),
        (&device, &bare, Ok(())),
        (&device_as_ca, &bare, Err(Refusal::NotListed)),
        (&device_as_ca, &signed, Err(Refusal::NotListed)),
        (&ca_as_device, &signed, Err(Refusal::NotListed)),
        (&fleet.authority(), &bare, Err(Refusal::NotListed)),
        (&fleet.authority(), &by_ca, Err(Refusal::NotListed)),
    ] {
        assert_eq!(fleet.authorize(file, signed), result, "{file}");
    }
    // ssh-keygen takes this line, and even an expired certificate on it.
    let faults =
        AllowedSigners::parse(&format!("\nalice {}", fleet.lab.read("device-cert.pub"))).unwrap_err();
    assert_eq!(faults[0].line, 2);
    let faults = Revoked::parse(&fleet.lab.read("device-cert.pub")).unwrap_err();
    assert_eq!(faults[0].line, 1);
}

#[test]
fn another_authority_and_revocation() {
    let fleet = Fleet::new();
    let good = ["-n", "alice", "-V", "20260101Z:20270101Z", "-O", &option()];
    let signed = fleet.signed(&good).unwrap();
    let stranger = format!("* cert-authority {}\n", SigningKey::generate().public_key().to_line());
    assert_eq!(fleet.authorize(&stranger, &signed), Err(Refusal::NotListed));
    let allowed = AllowedSigners::parse(&fleet.authority()).unwrap();
    for (key, refusal) in [(&fleet.device, Refusal::Revoked), (&fleet.ca, Refusal::RevokedAuthority)] {
        let revoked = Revoked::parse(&key.public_key().to_line()).unwrap();
        assert_eq!(allowed.authorize("alice", DECISION, &signed, NOW, &revoked), Err(refusal));
    }
}

#[test]
fn a_forged_certificate_is_refused_by_its_own_signature() {
    let fleet = Fleet::new();
    fleet.armored(&["-n", "alice", "-V", "20260101Z:20270101Z", "-O", &option()]);
    let line = fleet.lab.read("device-cert.pub");
    let mut blob = base64(line.split(' ').nth(1).unwrap());
    let at = blob.windows(5).position(|w| w == b"alice").unwrap();
    // The key id holds the name first; the principal is the later one.
    let at = blob[at + 5..].windows(5).position(|w| w == b"alice").unwrap() + at + 5;
    blob[at..at + 5].copy_from_slice(b"carol");
    let refused = sshsig::sign_with_certificate(&fleet.device, &blob, DECISION, DATA).unwrap_err();
    assert_eq!(refused.0, CertificateError::Signature.to_string());
}

fn base64(text: &str) -> Vec<u8> {
    use base64ct::Encoding;
    base64ct::Base64::decode_vec(text.trim()).unwrap()
}

#[test]
fn copies_of_certificates_are_read_as_ssh_keygen_writes_them() {
    let fleet = Fleet::of("ed25519", "ecdsa");
    let made = |args: &[&str]| {
        fleet.armored(args);
        fleet.lab.read("device-cert.pub")
    };
    let good = made(&["-n", "alice,oncall", "-O", &option()]);
    let copies = Certificates::parse(&format!("# of the fleet\n\n  {good}{good}\r\n")).unwrap();
    let found = copies.of(fleet.device.public_key());
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].principals(), ["alice", "oncall"]);
    assert!(copies.of(fleet.ca.public_key()).is_empty());
    let (kind, rest) = good.split_once(' ').unwrap();
    for (line, why) in [
        (made(&["-n", "alice"]), "critical options"),
        (made(&["-h", "-n", "alice"]), "not a user certificate"),
        (made(&["-O", &option()]), "names nobody"),
        (fleet.device.public_key().to_line(), "certificate's type"),
        (format!("{} {rest}", kind.replace("nistp256", "nistp384")), "not the named one"),
        (format!("alice {good}"), "base64"),
        (good.replacen("AAAA", "AAAB", 1), "damaged"),
        (format!("{kind} {}", "A".repeat(20_000)), "longer than"),
        (kind.to_owned(), "damaged"),
    ] {
        let faults = Certificates::parse(&format!("{good}{line}\n")).unwrap_err();
        assert_eq!((faults.len(), faults[0].line), (1, 2));
        assert!(faults[0].message.contains(why), "{line}: {}", faults[0]);
    }
}
