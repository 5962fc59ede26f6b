//! How often somebody may call: a token bucket each, kept as the one moment at which it will be
//! full again.

use crate::config;
use crate::directory::Peer;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A bucket holds this many seconds' worth of calls, so that a restart's rush gets through.
const BURST_SECONDS: u32 = 10;
/// Most addresses that are remembered at once.
const MAX_ADDRESSES: usize = 100_000;

/// All buckets of the server.
pub(crate) struct Limits {
    hosts: Buckets<Peer>,
    devices: Buckets<Peer>,
    pairs: Buckets<(Peer, Peer)>,
    addresses: Buckets<IpAddr>,
    files: Buckets<IpAddr>,
}

impl Limits {
    pub(crate) fn new(limits: &config::Limits) -> Self {
        Self {
            hosts: Buckets::new(limits.host_rate, usize::MAX),
            devices: Buckets::new(limits.device_rate, usize::MAX),
            pairs: Buckets::new(limits.pair_rate, usize::MAX),
            addresses: Buckets::new(limits.address_rate, MAX_ADDRESSES),
            files: Buckets::new(limits.file_rate, MAX_ADDRESSES),
        }
    }

    /// A call by a host that has a token.
    pub(crate) fn host(&self, host: Peer, cost: u32) -> Result<(), Duration> {
        self.hosts.take(host, cost, Instant::now())
    }

    /// A call by a device that has a token.
    pub(crate) fn device(&self, device: Peer, cost: u32) -> Result<(), Duration> {
        self.devices.take(device, cost, Instant::now())
    }

    /// A message of a host to a device: what a phone may be disturbed with by one host.
    pub(crate) fn pair(&self, host: Peer, device: Peer) -> Result<(), Duration> {
        self.pairs.take((host, device), 1, Instant::now())
    }

    /// A call by somebody who has not proven anything yet.
    pub(crate) fn address(&self, address: IpAddr) -> Result<(), Duration> {
        self.addresses.take(network(address), 1, Instant::now())
    }

    /// A file of the web app. Loading a page takes from nobody's calls.
    pub(crate) fn file(&self, address: IpAddr) -> Result<(), Duration> {
        self.files.take(network(address), 1, Instant::now())
    }

    /// Forgets buckets that are full again.
    pub(crate) fn sweep(&self, now: Instant) {
        self.hosts.sweep(now);
        self.devices.sweep(now);
        self.pairs.sweep(now);
        self.addresses.sweep(now);
        self.files.sweep(now);
    }
}

/// Whose bucket an address uses: one customer is usually given a whole IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

struct Buckets<K> {
    each: Duration,
    burst: Duration,
    capacity: usize,
    full_at: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(per_second: u32, capacity: usize) -> Self {
        Self {
            each: Duration::from_secs(1) / per_second.max(1),
            burst: Duration::from_secs(u64::from(BURST_SECONDS)),
            capacity,
            full_at: Mutex::default(),
        }
    }

    /// Takes `cost` calls out of a bucket, or says how long to wait for them.
    fn take(&self, key: K, cost: u32, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= self.capacity && !full_at.contains_key(&key) {
            full_at.retain(|_, full| *full > now);
            if full_at.len() >= self.capacity {
                return Err(Duration::from_secs(1));
            }
        }
        let entry = full_at.entry(key).or_insert(now);
        let full = (*entry).max(now) + self.each * cost;
        let over = full.duration_since(now).saturating_sub(self.burst);
        if !over.is_zero() {
            return Err(over);
        }
        *entry = full;
        Ok(())
    }

    fn sweep(&self, now: Instant) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        full_at.retain(|_, full| *full > now);
        if full_at.capacity() > 4 * full_at.len().max(64) {
            full_at.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_then_says_how_long_to_wait() {
        let buckets = Buckets::new(5, 10);
        let now = Instant::now();
        for _ in 0..5 * BURST_SECONDS {
            assert_eq!(buckets.take("a", 1, now), Ok(()));
        }
        let wait = buckets.take("a", 1, now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(200));
        assert_eq!(buckets.take("b", 1, now), Ok(()), "others are not concerned");
        assert_eq!(buckets.take("a", 1, now + wait), Ok(()));
        assert!(buckets.take("a", 1, now + wait).is_err());
    }

    #[test]
    fn refused_calls_cost_nothing() {
        let buckets = Buckets::new(1, 10);
        let now = Instant::now();
        assert!(buckets.take("a", BURST_SECONDS + 1, now).is_err());
        assert_eq!(buckets.take("a", BURST_SECONDS, now), Ok(()));
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_table_nor_lock_out_for_long() {
        let buckets = Buckets::new(10, 3);
        let now = Instant::now();
        for key in 0..3 {
            assert_eq!(buckets.take(key, 1, now), Ok(()));
        }
        assert!(buckets.take(3, 1, now).is_err());
        let later = now + Duration::from_millis(101);
        assert_eq!(buckets.take(3, 1, later), Ok(()));
        buckets.sweep(later + Duration::from_secs(1));
        assert!(buckets.full_at.lock().unwrap().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_caller_and_mapped_addresses_are_ipv4() {
        let net = |text: &str| network(text.parse().unwrap());
        assert_eq!(net("2001:db8:1:2:3:4:5:6"), net("2001:db8:1:2::1"));
        assert_ne!(net("2001:db8:1:2::1"), net("2001:db8:1:3::1"));
        assert_eq!(net("::ffff:192.0.2.1"), net("192.0.2.1"));
        assert_ne!(net("192.0.2.1"), net("192.0.2.2"));
    }
}
