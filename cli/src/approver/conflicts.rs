//! Two requests of one person at a time: one of them may be somebody else's.

use super::item::{Item, Phase, Verified};
use countersign_protocol::message::Request;

fn sha256(request: &Request) -> Option<&str> {
    request.list.as_ref().map(|list| list.sha256.as_str())
}

/// In what other undecided requests of the same user differ from this one; empty when there is none.
#[must_use]
pub fn conflicts(items: &[Item], item: &Item) -> Vec<&'static str> {
    let own = &item.verified;
    let others: Vec<&Verified> = items
        .iter()
        .filter(|i| i.phase == Phase::Asking)
        .map(|i| &i.verified)
        .filter(|v| v.key() != own.key() && v.request.user == own.request.user)
        .collect();
    if others.is_empty() {
        return Vec::new();
    }
    let (a, differs) = (&own.request, |f: &dyn Fn(&Verified) -> bool| others.iter().any(|o| !f(o)));
    let parts: [(&'static str, bool); 10] = [
        ("machine", differs(&|o| o.host == own.host)),
        ("service", differs(&|o| o.request.service == a.service)),
        ("command", differs(&|o| o.request.command == a.command)),
        ("action", differs(&|o| o.request.action == a.action)),
        ("what", differs(&|o| o.request.detail == a.detail)),
        ("list", differs(&|o| sha256(&o.request) == sha256(a))),
        ("asked by", differs(&|o| o.request.requester == a.requester)),
        (
            "from",
            differs(&|o| {
                o.request.remote.as_ref().map(|r| &r.address) == a.remote.as_ref().map(|r| &r.address)
            }),
        ),
        ("terminal", differs(&|o| o.request.terminal == a.terminal)),
        ("ssh key", differs(&|o| o.request.ssh_key == a.ssh_key)),
    ];
    let found: Vec<_> = parts.into_iter().filter(|(_, d)| *d).map(|(name, _)| name).collect();
    if found.is_empty() { vec!["nothing but the time"] } else { found }
}
