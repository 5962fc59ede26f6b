//! How much of everything there may be.

use serde::Deserialize;

/// Bounds that an administrator may move. Rates are calls a second; ten seconds' worth may come at
/// once.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) connections_per_address: u32,
    pub(crate) memory_mib: u32,
    pub(crate) messages_per_host: u32,
    pub(crate) messages_per_device: u32,
    pub(crate) devices_per_host: u32,
    pub(crate) hosts_per_device: u32,
    pub(crate) mailboxes_per_host: u32,
    pub(crate) host_rate: u32,
    pub(crate) device_rate: u32,
    pub(crate) pair_rate: u32,
    pub(crate) address_rate: u32,
    pub(crate) file_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 25_000,
            connections_per_address: 5_000,
            memory_mib: 256,
            messages_per_host: 12_000,
            // More than one host may have, so that no single host can fill a device's share.
            messages_per_device: 24_000,
            devices_per_host: 1_000,
            hosts_per_device: 10_000,
            mailboxes_per_host: 16,
            host_rate: 200,
            device_rate: 50,
            pair_rate: 20,
            address_rate: 500,
            file_rate: 500,
        }
    }
}

impl Limits {
    pub(super) fn all(&self) -> [(&'static str, u32); 13] {
        [
            ("connections", self.connections),
            ("connections_per_address", self.connections_per_address),
            ("memory_mib", self.memory_mib),
            ("messages_per_host", self.messages_per_host),
            ("messages_per_device", self.messages_per_device),
            ("devices_per_host", self.devices_per_host),
            ("hosts_per_device", self.hosts_per_device),
            ("mailboxes_per_host", self.mailboxes_per_host),
            ("host_rate", self.host_rate),
            ("device_rate", self.device_rate),
            ("pair_rate", self.pair_rate),
            ("address_rate", self.address_rate),
            ("file_rate", self.file_rate),
        ]
    }
}
