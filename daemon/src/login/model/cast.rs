//! Who takes part: devices of all kinds, with real keys, and the files in which the host knows them. Made once
//! for all stories.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Encoding};
use countersign_protocol::keys::{Signer, SigningKey};
use serde_json::{Value, json};

use crate::app::Paths;
use crate::testing::{Lab, TestDevice};

/// The users whom every machine has.
pub(super) const ROOT: &str = "root";
pub(super) const GUEST: &str = "nobody";
/// Who becomes root by su, and is asked in root's place.
pub(super) const ALICE: &str = "alice";
/// A group of both.
pub(super) const BOTH: &str = "both";
/// Unused recovery codes of root in the prepared files.
pub(super) const CODES: [&str; 3] = ["0000111122223333", "4444555566667777", "88889999aaaabbbb"];
/// Alice's.
pub(super) const CODE_OF_ALICE: &str = "ccccddddeeeeffff";
/// What root's colleague has made for root, to open once within some time.
pub(super) const CODE_ONCE: &str = "gggghhhhjjjjkkkk";
/// Written like a recovery code, and nobody's.
pub(super) const CODE_OF_NOBODY: &str = "zzzzzzzzzzzzzzzz";

/// Who holds a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Root's own, paired.
    Phone,
    /// Root's second one, paired.
    Tablet,
    /// Paired, for alice.
    OfAlice,
    /// Paired, for the guest.
    OfGuest,
    /// Paired for root, and revoked by the administrator's file.
    Revoked,
    /// An approver of root's, and no paired device.
    Unpaired,
    /// A paired device of root's that the approvers files do not name.
    NoApprover,
    /// Nobody whom the host knows.
    Stranger,
}

pub(super) const HOLDERS: [Holder; 8] = [
    Holder::Phone,
    Holder::Tablet,
    Holder::OfAlice,
    Holder::OfGuest,
    Holder::Revoked,
    Holder::Unpaired,
    Holder::NoApprover,
    Holder::Stranger,
];

impl Holder {
    /// Whose decisions it may make at all.
    pub(super) fn person(self) -> &'static str {
        match self {
            Self::OfAlice => ALICE,
            Self::OfGuest => GUEST,
            _ => ROOT,
        }
    }

    /// Whether it is a paired device of that person's in the files as they are prepared.
    pub(super) fn is_paired_for(self, person: &str) -> bool {
        !matches!(self, Self::Unpaired | Self::Stranger) && self.person() == person
    }

    /// Whose decisions it may make in the files as they are prepared.
    pub(super) fn decides_for(self, person: &str) -> bool {
        match self {
            Self::Phone | Self::Tablet => person == ROOT,
            Self::OfAlice => person == ALICE,
            Self::OfGuest => person == GUEST,
            Self::Revoked | Self::Unpaired | Self::NoApprover | Self::Stranger => false,
        }
    }
}

/// The devices in the order of [`HOLDERS`], and the files.
pub(super) struct Cast {
    pub(super) devices: Vec<TestDevice>,
    approvers: String,
    /// What the host keeps of each paired device.
    paired: Vec<(Holder, Value)>,
    recovery: String,
    revoked: String,
}

/// Made by the daemon's own code, as far as it makes them; on a thread that has no runtime yet.
pub(super) static CAST: LazyLock<Cast> = LazyLock::new(|| std::thread::spawn(Cast::new).join().unwrap());

impl Cast {
    fn new() -> Self {
        let devices: Vec<TestDevice> = HOLDERS.iter().map(|_| TestDevice::new()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lab = Lab::new();
        runtime.block_on(async {
            for (holder, device) in HOLDERS.iter().zip(&devices) {
                let user = holder.person();
                if !matches!(holder, Holder::NoApprover | Holder::Stranger) {
                    lab.app.approvers.add(user, device.key.public_key(), "test").await.unwrap();
                }
                if !matches!(holder, Holder::Unpaired | Holder::Stranger) {
                    lab.app.devices.add(user, device.card()).await.unwrap();
                }
            }
        });
        let read = |name: &str| std::fs::read_to_string(lab.app.paths.own(name)).unwrap();
        let file: Value = serde_json::from_str(&read("devices.json")).unwrap();
        let paired =
            HOLDERS.into_iter().filter(|holder| !matches!(holder, Holder::Unpaired | Holder::Stranger));
        Self {
            approvers: read("approvers"),
            paired: paired.zip(file["devices"].as_array().unwrap().iter().cloned()).collect(),
            recovery: recovery_codes(),
            revoked: format!("{}\n", devices[number(Holder::Revoked)].key.public_key().to_line()),
            devices,
        }
    }

    /// Writes the files where a daemon will look for them, as if only these took part.
    pub(super) fn prepare(&self, paths: &Paths, holders: &[Holder]) {
        let put = |path: &Path, content: &str| {
            std::fs::write(path, content).unwrap();
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        };
        let paired = self.paired.iter().filter(|(holder, _)| holders.contains(holder));
        let paired: Vec<&Value> = paired.map(|(_, entry)| entry).collect();
        put(&paths.own("approvers"), &self.approvers);
        put(&paths.own("devices.json"), &json!({ "devices": paired }).to_string());
        put(&paths.own("recovery.json"), &self.recovery);
        put(&paths.own("totp.json"), &authenticators());
        put(&paths.administrator().join("revoked"), &self.revoked);
    }
}

pub(super) fn number(holder: Holder) -> usize {
    HOLDERS.iter().position(|one| *one == holder).unwrap()
}

/// Recovery codes whose hash is quick; the slow one is `recovery`'s own to test.
fn recovery_codes() -> String {
    const QUICK: (u32, u32) = (8, 1);
    let salt = [7; 16];
    let hash = |code: &str| {
        let mut hash = [0; 32];
        let params = Params::new(QUICK.0, QUICK.1, 1, Some(hash.len())).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(code.as_bytes(), &salt, &mut hash).unwrap();
        json!({ "hash": Base64::encode_string(&hash) })
    };
    let batch = |codes: &[&str]| {
        let codes: Vec<_> = codes.iter().map(|code| hash(code)).collect();
        let salt = Base64::encode_string(&salt);
        json!({ "made_at": 1, "salt": salt, "memory_kib": QUICK.0, "passes": QUICK.1, "codes": codes })
    };
    let once = |code| json!({ "reason": "a story", "ends_at": 4_000_000_000_u64, "code": batch(&[code]) });
    let (users, alice) = (json!({ ROOT: batch(&CODES), ALICE: batch(&[CODE_OF_ALICE]) }), "vvvvwwwwxxxxyyyy");
    json!({ "users": users, "once": { ROOT: once(CODE_ONCE), ALICE: once(alice) } }).to_string()
}

/// What a person's authenticator on this host was given.
pub(super) fn secret(person: &str) -> [u8; 20] {
    let mut letters = person.bytes().cycle();
    std::array::from_fn(|_| letters.next().unwrap())
}

fn authenticators() -> String {
    let entry = |person: &str| {
        let secret = Base64::encode_string(&secret(person));
        (person.to_owned(), json!({ "made_at": 1, "secret": secret, "last_step": 0 }))
    };
    let users: serde_json::Map<String, Value> = [ROOT, ALICE, GUEST].into_iter().map(entry).collect();
    json!({ "users": users }).to_string()
}

/// The key of the host in all stories.
pub(super) static HOST: LazyLock<Arc<SigningKey>> = LazyLock::new(|| Arc::new(SigningKey::generate()));
