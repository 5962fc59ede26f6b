//! The native approver: of equal rank with a phone.
//!
//! [`letter`] believes messages or raises alarms, [`inbox`] keeps what is open ([`item`], [`conflicts`],
//! [`notices`], [`devices`]), [`screen`] and [`plain`] show it, [`run`] connects them with servers ([`listen`]), a
//! [`terminal`] and time. [`pair`] makes a host trusted. [`store`] keeps keys, trusted hosts and
//! undelivered decisions in a private directory ([`home`]); [`agent`] signs with keys in ssh-agent;
//! [`desktop`] shows it all as notifications, beside screen or lines.

pub mod agent;
pub mod conflicts;
pub mod desktop;
pub mod devices;
pub mod digits;
pub mod home;
pub mod inbox;
pub mod item;
pub mod letter;
pub mod listen;
mod listing;
mod notices;
pub mod pair;
pub mod plain;
pub mod run;
pub mod screen;
pub mod store;
pub mod terminal;
pub mod words;

#[cfg(test)]
pub(crate) mod testing;
