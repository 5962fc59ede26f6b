//! Notices: what a host tells a user's devices about them, and how a device has one taken away.

use crate::card;
use crate::digest;
use crate::login::MAX_NAME;
use crate::message::{
    DeviceEvent, MAX_BODY, MAX_DEVICE_NAME, MessageType, Notice, NoticeDevice, Removal, VERSION,
};
use crate::signed::{Message, MessageError};

const LABEL: &[u8] = b"countersign notice v1";
/// Most devices in a notice; more would not fit anyway.
const MAX_DEVICES: usize = 32;

/// The id of all notices about a user: the first 16 bytes of a hash over the name, in hex.
#[must_use]
pub fn id(user: &str) -> String {
    let mut hash = digest::sha256_hex(&[LABEL, user.as_bytes()].concat());
    hash.truncate(32);
    hash
}

/// A notice that is short enough: of `devices`, the last used ones as many as fit.
#[must_use]
pub fn fitted(
    user: &str,
    reply_key: String,
    event: Option<DeviceEvent>,
    mut devices: Vec<NoticeDevice>,
    issued_at: u64,
) -> Notice {
    devices.sort_by_key(|device| std::cmp::Reverse(device.last_used_at.unwrap_or(device.paired_at)));
    let total = devices.len();
    devices.truncate(MAX_DEVICES);
    let mut notice = Notice {
        version: VERSION,
        id: id(user),
        user: user.to_owned(),
        reply_key,
        event,
        devices,
        more: 0,
        issued_at,
    };
    loop {
        notice.more = u32::try_from(total - notice.devices.len()).unwrap_or(u32::MAX);
        let fits = serde_json::to_vec(&notice).is_ok_and(|bytes| bytes.len() <= MAX_BODY);
        if fits || notice.devices.pop().is_none() {
            return notice;
        }
    }
}

impl Message for Notice {
    const TYPE: MessageType = MessageType::Notice;

    fn check(&self) -> Result<(), MessageError> {
        let fault = |what| Err(MessageError::Field(what));
        if self.version != VERSION {
            return fault("version is another one");
        }
        if self.user.is_empty() || self.user.len() > MAX_NAME {
            return fault("user is empty or too long");
        }
        if self.id != id(&self.user) {
            return fault("id is not the one of its user");
        }
        if card::seal_key(&self.reply_key).is_none() {
            return fault("reply key is not 32 bytes of base64");
        }
        if self.devices.len() > MAX_DEVICES {
            return fault("list of devices is too long");
        }
        let event = self.event.iter().map(|event| (&event.device, &event.name));
        let mut named = self.devices.iter().map(|device| (&device.id, &device.name)).chain(event);
        if named.any(|(id, name)| !digest::is_key_id(id) || name.len() > MAX_DEVICE_NAME) {
            return fault("device has no key id or too long a name");
        }
        Ok(())
    }
}

impl Message for Removal {
    const TYPE: MessageType = MessageType::Removal;

    fn check(&self) -> Result<(), MessageError> {
        if self.version != VERSION {
            return Err(MessageError::Field("version is another one"));
        }
        if !digest::is_hex(&self.notice, 64) {
            return Err(MessageError::Field("notice digest is not SHA-256 in hex"));
        }
        if !digest::is_key_id(&self.device) {
            return Err(MessageError::Field("device is not a key id"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Signer, SigningKey};
    use crate::signed::{sign_message, verify_message};
    use base64ct::{Base64, Encoding};

    fn device(seed: u8, name: &str) -> NoticeDevice {
        let id = SigningKey::from_seed(&[seed; 32]).public_key().id();
        let last_used_at = (seed.is_multiple_of(2)).then_some(1_800_000_000 + u64::from(seed));
        NoticeDevice { id, name: name.into(), paired_at: 1_700_000_000, last_used_at }
    }

    fn notice(devices: Vec<NoticeDevice>) -> Notice {
        fitted("alice", Base64::encode_string(&[7; 32]), None, devices, 1_800_000_100)
    }

    #[test]
    fn a_notice_names_as_many_devices_as_fit_the_last_used_first() {
        let few = notice(vec![device(1, "a"), device(2, "b"), device(4, "c")]);
        let names: Vec<_> = few.devices.iter().map(|d| d.name.as_str()).collect();
        assert_eq!((names, few.more), (vec!["c", "b", "a"], 0));
        // Names that JSON makes six times as long.
        let many = notice((1..=60).map(|seed| device(seed, &"\u{1}".repeat(64))).collect());
        assert!(!many.devices.is_empty() && many.devices.len() < 10, "{}", many.devices.len());
        assert_eq!(many.devices.len() as u32 + many.more, 60);
        let key = SigningKey::generate();
        let signed = sign_message(&key, &many).unwrap();
        let verified = verify_message::<Notice>(&signed.bytes, &signed.signature, key.public_key()).unwrap();
        assert_eq!(verified.message, many);
    }

    #[test]
    fn damaged_notices_and_removals_are_refused() {
        let good = notice(vec![device(1, "a")]);
        assert_eq!(good.check(), Ok(()));
        for bad in [
            Notice { version: 2, ..good.clone() },
            Notice { id: id("bob"), ..good.clone() },
            Notice { user: String::new(), id: id(""), ..good.clone() },
            Notice { reply_key: "AAAA".into(), ..good.clone() },
            Notice { devices: vec![NoticeDevice { id: "x".into(), ..device(1, "a") }], ..good.clone() },
            Notice { devices: vec![device(1, &"x".repeat(65))], ..good.clone() },
            Notice { devices: vec![device(1, "a"); MAX_DEVICES + 1], ..good },
        ] {
            assert!(matches!(bad.check(), Err(MessageError::Field(_))), "{bad:?}");
        }
        let good = Removal {
            version: 1,
            notice: "0".repeat(64),
            device: device(1, "a").id,
            decided_at: 1,
            counter: 1,
        };
        assert_eq!(good.check(), Ok(()));
        for bad in [
            Removal { version: 2, ..good.clone() },
            Removal { notice: "0".repeat(63), ..good.clone() },
            Removal { device: "x".into(), ..good },
        ] {
            assert!(matches!(bad.check(), Err(MessageError::Field(_))), "{bad:?}");
        }
    }
}
