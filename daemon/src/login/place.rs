//! Where a login comes from, for what is held against a place: an address counts by the kernel's word, a local
//! caller by the name that the program gives which lends rights.

use std::net::IpAddr;

use countersign_protocol::message::{Kind, RemoteSource};

use super::facts::Facts;
use crate::devices::Device;
use crate::fatigue::{Asking, Place, of_caller};

/// Who is asked for a login on these devices, and from where.
pub(super) fn asking(facts: &Facts, person: &str, devices: &[Device]) -> Asking {
    let caller = caller(facts).filter(|caller| *caller != person).map(str::to_owned);
    let mut others: Vec<String> =
        devices.iter().map(|device| device.user.clone()).filter(|owner| owner != person).collect();
    others.sort();
    others.dedup();
    Asking { person: person.to_owned(), others, place: place(facts), caller }
}

/// The local user who asks by a command, or by polkit's agent.
fn caller(facts: &Facts) -> Option<&str> {
    if facts.is_ask() {
        // Behind a job of root's is nobody, and what is held against it must not keep whom it asks from sudo.
        return facts.requester.as_deref();
    }
    let asks = facts.by_root && (facts.kind == Kind::Command || facts.is_polkit());
    asks.then(|| facts.requester.as_deref().unwrap_or(&facts.user))
}

/// Where a login comes from.
pub(super) fn place(facts: &Facts) -> Place {
    if let Some(caller) = caller(facts) {
        return Place { name: of_caller(caller), may_block: true };
    }
    if let Some(remote) = &facts.remote {
        // A name from elsewhere is anybody's to choose, and so would be whom it blocks.
        return Place { name: source(&remote.address), may_block: remote.source == RemoteSource::Kernel };
    }
    // Who stands in front of the machine is not told apart from its owner.
    let name = match (facts.by_root, &facts.terminal) {
        (true, Some(terminal)) => format!("terminal {terminal}"),
        _ => format!("uid {}", facts.uid),
    };
    Place { name, may_block: false }
}

/// An address as a place: of IPv6 the network of one customer, who has all of its addresses. Other names are left
/// as they are.
pub(crate) fn source(address: &str) -> String {
    let bare = address.strip_suffix("/64").unwrap_or(address);
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) if address.is_loopback() => address.to_string(),
        Ok(IpAddr::V6(address)) => {
            let network = std::net::Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
            format!("{network}/64")
        }
        Err(_) => address.to_owned(),
    }
}

/// Whether something could be held against a place of this name, as [`place`] gives it; names that only a program
/// gives are never blocked.
pub(crate) fn is_source(name: &str) -> bool {
    let address =
        name.strip_suffix("/64").map_or_else(|| name.parse().ok(), |v6| v6.parse().ok().map(IpAddr::V6));
    let of = |kind: &str| name.strip_prefix(kind).filter(|rest| !rest.is_empty());
    address.is_some()
        || of("user ").is_some()
        || of("terminal ").is_some()
        || of("uid ").is_some_and(|uid| uid.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts;
    use countersign_protocol::message::Remote;

    #[test]
    fn one_customer_is_one_place() {
        assert_eq!(source("192.0.2.1"), "192.0.2.1");
        assert_eq!(source("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(source("2001:db8:1:2::/64"), "2001:db8:1:2::/64");
        assert_eq!(source("::1"), "::1");
        assert_eq!(source("user alice"), "user alice");
    }

    #[test]
    fn a_report_blocks_by_the_kernels_word_or_a_local_caller_and_never_a_console() {
        let remote = |source| Facts {
            remote: Some(Remote { address: "192.0.2.1".into(), port: None, source }),
            ..facts("alice")
        };
        assert!(place(&remote(RemoteSource::Kernel)).may_block);
        assert!(!place(&remote(RemoteSource::Pam)).may_block);
        let console = Facts { terminal: Some("tty1".into()), ..facts("alice") };
        assert_eq!(place(&console), Place { name: "terminal tty1".into(), may_block: false });
        let locker = Facts { kind: Kind::Unlock, by_root: false, uid: 1001, ..console };
        assert_eq!(place(&locker), Place { name: "uid 1001".into(), may_block: false });

        let sudo = Facts { kind: Kind::Command, ..facts("alice") };
        let asked = asking(&sudo, "alice", &[]);
        assert_eq!((asked.place.name.as_str(), asked.caller), ("user alice", None));
        let ask = Facts { service: "ask".into(), kind: Kind::Action, ..facts("alice") };
        assert_eq!(place(&ask), Place { name: "uid 0".into(), may_block: false });
        let ask = Facts { requester: Some("bob".into()), ..ask };
        assert_eq!(place(&ask), Place { name: "user bob".into(), may_block: true });

        let su = Facts { requester: Some("mallory".into()), ..sudo };
        let asked = asking(&su, "alice", &[]);
        assert_eq!((asked.place.name.as_str(), asked.place.may_block), ("user mallory", true));
        assert_eq!(asked.caller.as_deref(), Some("mallory"));
        let polkit = Facts { kind: Kind::Action, service: "polkit-1".into(), ..su };
        let asked = asking(&polkit, "alice", &[]);
        assert_eq!((asked.place.name.as_str(), asked.place.may_block), ("user mallory", true));
    }
}
