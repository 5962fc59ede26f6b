//! The devices that may approve: told, and taken away.

use super::{Answer, Refusal, Session};
use crate::app::App;
use crate::devices::Device;
use crate::revoke;
use countersign_protocol::manage::{self, Devices, Revoked, error};

impl Session {
    pub(super) async fn devices(&self, user: Option<&str>) -> Answer<Devices> {
        let devices = match user {
            None if self.caller.root_socket => self.app.devices.all(),
            None => self.app.devices.for_user(&self.caller_itself().await?.name),
            Some(user) => self.app.devices.for_user(&self.permitted(user).await?.name),
        };
        Ok(Devices { devices: devices.iter().map(|device| told(&self.app, device)).collect() })
    }

    pub(super) async fn revoke(&self, user: &str, wanted: &str) -> Answer<Revoked> {
        let person = self.permitted(user).await?;
        let devices = self.app.devices.for_user(&person.name);
        let mut meant = meant(&devices, wanted);
        let Some(device) = meant.pop() else {
            return Err(Refusal(
                error::NOT_FOUND,
                format!("{} has no such device; see: countersign devices", person.name),
            ));
        };
        if !meant.is_empty() {
            let text = "several devices have that name; give the fingerprint of one (countersign devices)";
            return Err(Refusal(error::BAD_CALL, text.into()));
        }
        let (app, by) = (&self.app, self.by());
        let removed = match self.caller.root_socket {
            true => revoke::revoke(app, device, &by, None).await?,
            false => revoke::take_away(app, &person.name, device, &by, None).await?,
        };
        let still_anothers = revoke::is_anothers(app, &person.name, device);
        Ok(Revoked {
            devices: removed.iter().map(|device| told(&self.app, device)).collect(),
            still_anothers,
        })
    }
}

/// Devices by fingerprint or name. The fingerprint comes first: a device may be named like another's.
fn meant<'a>(devices: &'a [Device], wanted: &str) -> Vec<&'a Device> {
    let by_fingerprint: Vec<_> =
        devices.iter().filter(|device| device.card.key.fingerprint() == wanted).collect();
    match by_fingerprint.is_empty() {
        true => devices.iter().filter(|device| device.card.card.name == wanted).collect(),
        false => by_fingerprint,
    }
}

/// A device as it is told.
pub(crate) fn told(app: &App, device: &Device) -> manage::Device {
    manage::Device {
        user: device.user.clone(),
        name: device.card.card.name.clone(),
        fingerprint: device.card.key.fingerprint(),
        paired_at: device.paired_at,
        last_used_at: device.last_used_at,
        principals: app.approvers.principals_of(&device.user, &device.card.key, app.latest()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::testing::session;
    use crate::testing::{Lab, TestDevice};
    use base64ct::{Base64, Encoding};
    use countersign_protocol::card;
    use countersign_protocol::keys::{SealKey, Signer, SigningKey};
    use countersign_protocol::message::{Card, VERSION};

    /// A card is no secret: who has paired another's device as their own must not end it for both.
    #[tokio::test]
    async fn a_device_of_several_users_is_ended_for_all_by_root_alone() {
        for root_socket in [false, true] {
            let (lab, device) = (Lab::new(), TestDevice::new());
            lab.pair("root", &device).await;
            lab.pair("admin", &device).await;
            let key = device.key.public_key();
            let (session, _peer) = session(&lab, 0, root_socket);
            let Ok(revoked) = session.revoke("root", &key.fingerprint()).await else { panic!("refused") };
            assert_eq!(revoked.still_anothers, !root_socket);
            let users: Vec<_> = revoked.devices.iter().map(|device| device.user.as_str()).collect();
            assert_eq!(users, if root_socket { &["root", "admin"][..] } else { &["root"] });
            assert_eq!(lab.app.approvers.is_revoked(key), root_socket);
            assert!(lab.app.devices.for_user("root").is_empty());
            assert_eq!(lab.app.devices.for_user("admin").is_empty(), root_socket);
            let lines = std::fs::read_to_string(lab.app.paths.own("approvers")).unwrap();
            assert_eq!((lines.contains("root "), lines.contains("admin ")), (false, !root_socket));
            let records = lab.audit();
            let told: Vec<_> = records.iter().map(|r| (r.event.as_str(), r.user.as_deref())).collect();
            let revoked = [("revoked", Some("root")), ("revoked", Some("admin"))];
            assert_eq!(told, if root_socket { &revoked[..] } else { &[("unpaired", Some("root"))] });
        }
    }

    /// The key has ended with its line among the revoked ones, whatever becomes of the rest.
    #[tokio::test]
    async fn what_has_ended_is_not_written_down_as_failed() {
        let (lab, device) = (Lab::new(), TestDevice::new());
        lab.pair("root", &device).await;
        let (session, _peer) = session(&lab, 0, true);
        let key = device.key.public_key();
        let blocked = lab.app.paths.own("devices.json.new");
        std::fs::create_dir(&blocked).unwrap();
        let Err(Refusal(name, why)) = session.revoke("root", &key.fingerprint()).await else {
            panic!("done")
        };
        assert_eq!(name, error::FAULT);
        assert!(why.contains("its key has ended") && why.contains("devices.json"), "{why}");
        assert!(lab.app.approvers.is_revoked(key));
        std::fs::remove_dir(&blocked).unwrap();
        assert!(session.revoke("root", &key.fingerprint()).await.is_ok());
        assert!(lab.app.devices.for_user("root").is_empty());
        let events: Vec<_> = lab.audit().into_iter().map(|record| record.event).collect();
        assert_eq!(events, ["revoked", "revoked"]);

        // And what has not ended is.
        std::fs::create_dir(lab.app.paths.own("revoked.new")).unwrap();
        let other = TestDevice::new();
        lab.pair("root", &other).await;
        assert!(session.revoke("root", &other.key.public_key().fingerprint()).await.is_err());
        assert!(!lab.app.approvers.is_revoked(other.key.public_key()));
        assert_eq!(lab.audit().last().map(|record| record.event.clone()).as_deref(), Some("revoke-failed"));
    }

    #[tokio::test]
    async fn a_device_named_like_anothers_fingerprint_can_be_ended() {
        let lab = Lab::new();
        let keys = [(); 2].map(|()| SigningKey::generate());
        let fingerprints = keys.each_ref().map(|key| key.public_key().fingerprint());
        for (key, name) in keys.iter().zip(fingerprints.iter().rev()) {
            let seal = Base64::encode_string(&SealKey::generate().public());
            let (key_line, name) = (key.public_key().to_line(), name.clone());
            let card = Card { version: VERSION, key: key_line, seal, serial: 1, name };
            let card = card::verify(&card::sign(key, &card).unwrap()).unwrap();
            lab.app.devices.add("root", card).await.unwrap();
        }
        let devices = lab.app.devices.for_user("root");
        for wanted in &fingerprints {
            let found: Vec<_> = meant(&devices, wanted).iter().map(|d| d.card.key.fingerprint()).collect();
            assert_eq!(found, std::slice::from_ref(wanted));
        }
    }
}
