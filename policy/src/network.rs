//! Networks: `10.0.0.0/8`, `2001:db8::/32`, one address, and `!` for what is not meant.

use std::net::IpAddr;

use ipnet::IpNet;

/// Some networks, less some others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    meant: Vec<IpNet>,
    not: Vec<IpNet>,
}

impl Networks {
    /// Adds one, as it is written in the configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn add(&mut self, text: &str) -> Result<(), String> {
        let (list, text) = match text.strip_prefix('!') {
            Some(text) => (&mut self.not, text),
            None => (&mut self.meant, text),
        };
        let net = match text.parse::<IpNet>() {
            Ok(net) if net.trunc() != net => {
                return Err(format!(
                    "{net} is an address in {}; write the network or the address",
                    net.trunc()
                ));
            }
            Ok(net) => net,
            Err(_) => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| {
                format!("\"{text}\" is no network; write \"10.0.0.0/8\", \"2001:db8::/32\" or an address")
            })?,
        };
        list.push(net);
        Ok(())
    }

    /// Whether anything is meant at all.
    pub(super) fn is_empty(&self) -> bool {
        self.meant.is_empty()
    }

    /// Whether an address is in them. What is no address is in no network.
    #[must_use]
    pub fn contain(&self, address: &str) -> bool {
        // A link-local address names its interface behind a percent sign.
        let bare = address.split('%').next().unwrap_or_default();
        let Ok(address) = bare.parse::<IpAddr>().map(|address| address.to_canonical()) else { return false };
        let inside = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        inside(&self.meant) && !inside(&self.not)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Networks {
        let mut networks = Networks::default();
        for one in list {
            networks.add(one).unwrap();
        }
        networks
    }

    #[test]
    fn an_address_is_in_its_network_in_each_spelling() {
        let office = networks(&["10.0.0.0/8", "!10.9.0.0/16", "2001:db8::/32", "192.0.2.7", "fe80::/10"]);
        for address in ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "192.0.2.7", "fe80::1%eth0"] {
            assert!(office.contain(address), "{address}");
        }
        for address in [
            "10.9.0.1",
            "::ffff:10.9.0.1",
            "11.0.0.1",
            "2001:db9::1",
            "192.0.2.8",
            "",
            "office.example",
            "10.1",
        ] {
            assert!(!office.contain(address), "{address}");
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        for bad in ["", "!", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "office", "::/129", "!!10.0.0.0/8"] {
            assert!(Networks::default().add(bad).is_err(), "{bad}");
        }
        assert!(Networks::default().add("10.0.0.1/8").unwrap_err().contains("10.0.0.0/8"));
    }
}
