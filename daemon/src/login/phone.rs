//! The host's side of phone codes: the challenge that a terminal shows, and whose code was typed.

use std::time::Duration;

use countersign_protocol::keys::SealKey;
use countersign_protocol::message::namespace;
use countersign_protocol::phone_code::{self, Challenge, DIGITS};
use countersign_protocol::sshsig;
use zeroize::Zeroizing;

use super::facts::Facts;
use super::qr;
use super::request::OpenRequest;
use crate::app::App;
use crate::clock;
use crate::devices::Device;

/// How long a challenge is good: as long as sshd waits by its own default. A phone has to be found and unlocked.
const GOOD_FOR: u8 = 120;

/// A challenge that stands on a terminal.
pub(super) struct Shown {
    /// The request that it was made for.
    request: String,
    reply: SealKey,
    challenge: Challenge,
    /// Boot clock.
    until: Duration,
}

impl Shown {
    /// A new challenge for a request, and its rows. `None` where the user's name is too long for one.
    pub(super) fn new(app: &App, facts: &Facts, open: &OpenRequest) -> Option<(Self, Vec<String>)> {
        let reply = SealKey::generate();
        let address = facts.remote.as_ref().map_or("", |remote| remote.address.as_str());
        let time = u32::try_from(clock::unix()).unwrap_or(u32::MAX);
        let what = (facts.service.as_str(), open.user.as_str(), address);
        let challenge = Challenge::new(&app.host.public, reply.public(), time, GOOD_FOR, what).ok()?;
        let rows = qr::rows(&challenge.to_bytes()).ok()?;
        let until = clock::boot() + Duration::from_secs(GOOD_FOR.into());
        Some((Self { request: open.id.clone(), reply, challenge, until }, rows))
    }

    /// Whether it is still good, and for this request.
    pub(super) fn is_good_for(&self, open: &OpenRequest) -> bool {
        self.request == open.id && clock::boot() < self.until
    }
}

/// A typed phone code; phones show it in two groups.
pub(super) fn typed_code(text: &str) -> Option<Zeroizing<String>> {
    let digits: Zeroizing<String> = Zeroizing::new(text.split([' ', '-']).collect());
    (digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// The device whose code this is: made out of the challenge that is shown, or out of the request itself by one
/// that has approved it and cannot send that. Each device is compared, so that the time tells nothing.
pub(super) fn device_of(app: &App, open: &OpenRequest, shown: Option<&Shown>, typed: &str) -> Option<Device> {
    let host = &app.host.public;
    let shown = shown.filter(|shown| shown.is_good_for(open));
    let mut found = None;
    for device in app.devices.for_user(&open.person) {
        let is_asked = open.devices.iter().any(|asked| asked.card.key == device.card.key);
        if !is_asked || !may_approve(app, &open.person, &device) {
            continue;
        }
        let (card, seal_key) = (&device.card.hash, device.card.seal_key);
        let of_request = phone_code::of_request_at_host(&open.reply, card, seal_key, host, &open.digest);
        let of_challenge = shown
            .map(|shown| phone_code::at_host(&shown.reply, card, seal_key, host, &shown.challenge))
            .and_then(Result::ok);
        let codes = [of_request.ok(), of_challenge];
        let right =
            codes.iter().flatten().fold(false, |right, code| phone_code::matches(typed, code) | right);
        if right {
            found = Some(device);
        }
    }
    found
}

/// Whether the approvers accept the key of this device, as far as its card shows: what stands behind a certificate
/// that only decisions carry is not known without one.
fn may_approve(app: &App, person: &str, device: &Device) -> bool {
    let card = &device.card;
    sshsig::verify(&card.signature, namespace::CARD, &card.bytes)
        .is_ok_and(|signed| app.approvers.authorize(person, &signed, clock::unix()).is_ok())
}
