//! What phones get to see of a login or an action: what its program has said, and the list that was signed.

use std::time::Duration;

use countersign_protocol::digest;
use countersign_protocol::list;
use countersign_protocol::message::{Kind, RemoteSource};
use countersign_relay_client::RelayError;

use super::visit::Visit;
use super::world::World;
use crate::testing::Asked;

impl World {
    /// The server had the list before the request that names it came, and it opens to what was asked about.
    pub(super) fn lists_before(&self, post: usize, asked: &Asked, text: &str) {
        let lists = self.relay.lists.borrow();
        let of_request =
            |(before, id, _): &&(usize, String, Vec<u8>)| *id == asked.request.id && *before <= post;
        let (.., sealed) = lists.iter().find(of_request).expect("a request came before its list");
        let named = asked.request.list.as_ref().unwrap();
        let opened = list::open(named, &asked.request.id, sealed);
        assert_eq!(opened.as_deref(), Ok(text), "the list that phones fetch");
    }

    /// The server does not take one of the next lists.
    pub(super) fn refuses_list(&mut self, status: u16) {
        let error = match status {
            429 => RelayError::Limited { retry_after: Some(Duration::from_secs(1)) },
            _ => RelayError::Status { status, problem: None },
        };
        self.relay.refused_lists.borrow_mut().push_back(error);
        self.refusals += 1;
        self.oracle.had_trouble = true;
    }
}

/// What a phone shows is what the login is.
pub(super) fn shows(asked: &Asked, visit: Visit, number: usize) {
    let request = &asked.request;
    assert_eq!((request.user.as_str(), request.service.as_str()), (visit.account(), visit.service()));
    assert_eq!(request.requester.as_deref(), visit.requester());
    assert_eq!(request.terminal, visit.terminal(number));
    assert_eq!((request.kind == Kind::Action, request.action.as_deref()), (visit.is_ask(), visit.action()));
    assert_eq!(request.detail, visit.is_ask().then(|| format!("do c{number}")));
    let list = request.list.as_ref().map(|list| (list.sha256.clone(), list.bytes, list.lines));
    assert_eq!(list, visit.list(number).map(|text| described(&text)), "the list that was signed");
    let remote = request.remote.as_ref();
    assert_eq!(remote.map(|remote| remote.address.clone()), visit.address(number));
    let is_vouched = remote.is_some_and(|remote| remote.source == RemoteSource::Kernel);
    assert_eq!(is_vouched, visit.is_vouched());
    let key = request.ssh_key.as_ref().map(|key| key.fingerprint.as_str());
    assert_eq!(key, visit.fingerprint());
}

/// What a request has to say of a list.
fn described(text: &str) -> (String, u32, u32) {
    let count = |number: usize| u32::try_from(number).unwrap();
    (digest::sha256_hex(text.as_bytes()), count(text.len()), count(text.lines().count()))
}
