//! What each machine last said of a person's devices, and in what a new word differs from what the person
//! was told.
//!
//! A server keeps the newest notice only, so that the one which told of an event may never come here; the
//! lists of those that do come say the same.

use super::item::Key;
use countersign_protocol::message::{DeviceChange, DeviceEvent, Notice, NoticeDevice};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most users of one machine whose devices are known.
const MAX_USERS: usize = 16;
/// How far a machine's clock may be ahead of this one's, in seconds.
const MAX_AHEAD: u64 = 24 * 3600;
/// Most notices of one second, and most devices, that are remembered.
const MAX_SAME: usize = 8;
const MAX_TOLD: usize = 64;

/// The last word of each machine about each user.
#[derive(Debug, Default)]
pub struct Devices {
    /// Key id of this device, of which its person needs no news.
    own: String,
    known: BTreeMap<Key, Known>,
}

/// What is known of one user's devices, as it is kept for the next run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Of the notices about this user.
    id: String,
    /// By the machine's clock.
    issued_at: u64,
    /// Digests of the notices of that second: there may be two, and each may come again.
    heard: Vec<String>,
    devices: Vec<Listed>,
    /// How many had no room in the list.
    more: u32,
    /// What the person was told last of a device, the latest at the end.
    told: Vec<Told>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    id: String,
    name: String,
    paired_at: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    device: String,
    what: DeviceChange,
    /// When it was paired, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paired_at: Option<u64>,
}

impl Devices {
    /// As an earlier run of the device `own` kept it, by machine.
    #[must_use]
    pub fn new(own: String, kept: impl IntoIterator<Item = (String, Vec<Known>)>) -> Self {
        let of_host = |(host, known): (String, Vec<Known>)| {
            known.into_iter().map(move |known| (Key { host: host.clone(), id: known.id.clone() }, known))
        };
        Self { own, known: kept.into_iter().flat_map(of_host).collect() }
    }

    /// What is known of a machine's users, to be kept.
    #[must_use]
    pub fn of(&self, host: &str) -> Vec<&Known> {
        self.known.iter().filter(|(key, _)| key.host == host).map(|(_, known)| known).collect()
    }

    /// Takes a machine's word at a time, seconds since 1970; what the person was not told, the devices that came at the end. Nothing for
    /// an old word, or the same again.
    pub fn hear(&mut self, key: &Key, notice: &Notice, digest: &str, now: u64) -> Option<Vec<DeviceEvent>> {
        let known = self.known.get(key);
        // One notice from a clock that was wrong must not make all later ones old.
        let newest = now.saturating_add(MAX_AHEAD);
        if notice.issued_at > newest {
            return None;
        }
        let is_old = |known: &Known| {
            (known.issued_at > notice.issued_at && known.issued_at <= newest)
                || known.heard.iter().any(|heard| heard == digest)
        };
        if known.is_some_and(is_old) || (known.is_none() && self.of(&key.host).len() >= MAX_USERS) {
            return None;
        }
        let mut news = changes(notice, known, &self.own);
        news.retain(|(event, told)| {
            event.device != self.own && !known.is_some_and(|known| known.told.contains(told))
        });
        let same = known.filter(|known| known.issued_at == notice.issued_at);
        let mut heard = same.map(|known| known.heard.clone()).unwrap_or_default();
        heard.push(digest.to_owned());
        let mut told = known.map(|known| known.told.clone()).unwrap_or_default();
        told.retain(|old| !news.iter().any(|(event, _)| event.device == old.device));
        told.extend(news.iter().map(|(_, told)| told.clone()));
        let known = Known {
            id: key.id.clone(),
            issued_at: notice.issued_at,
            heard: last(heard, MAX_SAME),
            devices: notice.devices.iter().map(listed).collect(),
            more: notice.more,
            told: last(told, MAX_TOLD),
        };
        self.known.insert(key.clone(), known);
        Some(news.into_iter().map(|(event, _)| event).collect())
    }
}

/// A notice's event, and all in which its list differs from the one before. In a first list what was paired
/// after this device is new.
fn changes(notice: &Notice, known: Option<&Known>, own: &str) -> Vec<(DeviceEvent, Told)> {
    let mut found: Vec<(DeviceEvent, Told)> = Vec::new();
    let now = |id: &str| notice.devices.iter().find(|device| device.id == id);
    let mut note = |what, id: &str, name: &str| {
        let paired_at = now(id).filter(|_| what == DeviceChange::Paired).map(|device| device.paired_at);
        found.retain(|(event, _)| event.device != id);
        let event = DeviceEvent { what, device: id.to_owned(), name: name.to_owned() };
        found.push((event, Told { device: id.to_owned(), what, paired_at }));
    };
    if let Some(known) = known {
        let gone = |device: &&Listed| notice.more == 0 && now(&device.id).is_none();
        for device in known.devices.iter().filter(gone) {
            note(DeviceChange::Removed, &device.id, &device.name);
        }
        let is_new = |device: &&NoticeDevice| match known.devices.iter().find(|old| old.id == device.id) {
            Some(old) => device.paired_at > old.paired_at,
            // What was not listed before may have had no room there.
            None => known.more == 0 || device.paired_at >= known.issued_at,
        };
        for device in notice.devices.iter().filter(is_new) {
            note(DeviceChange::Paired, &device.id, &device.name);
        }
    }
    if let (None, Some(own)) = (known, now(own)) {
        for device in notice.devices.iter().filter(|device| device.paired_at > own.paired_at) {
            note(DeviceChange::Paired, &device.id, &device.name);
        }
    }
    if let Some(event) = &notice.event {
        note(event.what, &event.device, &event.name);
    }
    found
}

fn listed(device: &NoticeDevice) -> Listed {
    Listed { id: device.id.clone(), name: device.name.clone(), paired_at: device.paired_at }
}

/// The last ones of a list.
fn last<T>(mut list: Vec<T>, most: usize) -> Vec<T> {
    list.drain(..list.len().saturating_sub(most));
    list
}

#[cfg(test)]
#[path = "devices_tests.rs"]
mod tests;
