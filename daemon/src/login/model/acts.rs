//! Makes each move of a story: what people, devices and the server do, and what the oracle hears of it.

use std::time::Duration;

use base64ct::{Base64, Encoding};
use countersign_protocol::digest;
use countersign_protocol::frame::{END, MAX_FRAME};
use countersign_protocol::keys::Signer;
use countersign_protocol::list;
use countersign_protocol::login::Continue;
use countersign_protocol::message::{
    Answer, Confirm, Decision, Envelope, Lease, MessageType, Removal, Request, Sealed, VERSION,
};
use countersign_protocol::phone_code;
use countersign_protocol::signed::{self, SignedMessage};

use super::cast::{
    ALICE, CAST, CODE_OF_ALICE, CODE_OF_NOBODY, CODE_ONCE, CODES, GUEST, HOST, Holder, number,
};
use super::moves::{Babble, By, How, Move, Rubbish, Typed};
use super::oracle::{QR, Said};
use super::peer::At;
use super::totp;
use super::world::World;
use crate::clock;
use crate::testing::qr;

impl World {
    pub(super) async fn make(&mut self, one: &Move) {
        match *one {
            Move::Begin(visit, with_token) => {
                let token = self.tokens.last().cloned().filter(|_| with_token);
                return self.begin(visit, token).await;
            }
            Move::Everybody(what) => {
                let all: Vec<usize> = (0..self.logins.len()).collect();
                if let Some(last) = all.last() {
                    let text = self.text(*last, what);
                    self.type_at(&all, &text).await;
                }
            }
            Move::Type(login, what) => {
                if let Some(login) = back(self.logins.len(), login) {
                    let text = self.text(login, what);
                    self.types(login, &text).await;
                }
            }
            Move::CannotAsk(login) => {
                if let Some(login) =
                    back(self.logins.len(), login).filter(|at| self.logins[*at].at() == At::Prompt)
                {
                    self.logins[login].go_on(Continue { answer: None, cannot_ask: true });
                }
            }
            Move::HangUp(login) => {
                if let Some(login) = back(self.logins.len(), login) {
                    self.hangs_up(login).await;
                }
            }
            Move::Babble(login, what) => {
                if let Some(login) = back(self.logins.len(), login) {
                    self.babble(login, what);
                }
            }
            Move::Decide { request, by, answer, how, now } => {
                if let Some(request) = back(self.oracle.requests.len(), request) {
                    let by = match by {
                        By::Holder(holder) => holder,
                        By::Owner => match self.oracle.requests[request].person {
                            ALICE => Holder::OfAlice,
                            GUEST => Holder::OfGuest,
                            _ => Holder::Phone,
                        },
                    };
                    self.decide(request, by, answer, how, now);
                }
            }
            Move::Again(decision) => {
                if let Some(decision) = back(self.oracle.said.len(), decision) {
                    let sealed = self.oracle.said[decision].sealed.clone();
                    self.relay.decision(decision, &sealed);
                }
            }
            Move::Rubbish(what) => self.relay.rubbish(rubbish(what)),
            Move::Next(fate) => self.fate(fate),
            Move::RefuseList(status) => self.refuses_list(status),
            Move::Cut => self.relay.cut(),
            Move::Down => {
                self.relay.forget();
                self.relay.turn(false);
            }
            Move::Up => self.relay.turn(true),
            Move::Wait(milliseconds) => self.wait(Duration::from_millis(milliseconds.into())).await,
            Move::Sleep(seconds) => clock::wound::sleep(Duration::from_secs(seconds.into())),
            Move::Revoke(holder) => self.revoke(holder),
            Move::Unpair(holder) => self.unpair(holder).await,
            Move::EndLeases => self.end_leases().await,
            Move::SetClock(seconds) => self.set_clock(seconds.into()),
            Move::Reboot => self.reboot().await,
            Move::NoRecord => self.lab.app.audit.refuses.0.set(true),
            Move::Restart(gently) => self.restart(gently).await,
        }
        self.settle().await;
    }

    fn text(&self, login: usize, what: Typed) -> String {
        let known = self.oracle.requests.iter().rposition(|known| known.login == login);
        match what {
            Typed::Right => {
                let known = known.map(|at| (at, &self.oracle.requests[at]));
                let approved = known.and_then(|(_, known)| self.oracle.next_code(known));
                approved.unwrap_or_else(|| known.map_or("482913".into(), |(at, _)| code(at, Holder::Phone)))
            }
            Typed::CodeOf(decision) => {
                let decision = back(self.oracle.said.len(), decision);
                decision.and_then(|at| self.oracle.said[at].code.clone()).unwrap_or_default()
            }
            Typed::Wrong => "999999".into(),
            Typed::Nonsense => "hello, is this on?".into(),
            Typed::Nothing => String::new(),
            Typed::Blank => " \t".into(),
            Typed::Recovery(one) => CODES[usize::from(one) % CODES.len()].into(),
            Typed::RecoveryOfAlice => CODE_OF_ALICE.into(),
            Typed::RecoveryOfNobody => CODE_OF_NOBODY.into(),
            Typed::Once => CODE_ONCE.into(),
            Typed::Totp(from_now) => self.totp(self.oracle.logins[login].visit.person(), from_now),
            Typed::TotpOfAlice => self.totp(ALICE, 0),
            Typed::Qr => QR.into(),
            Typed::Scanned(holder) => self.scanned(login, holder),
            Typed::PhoneCode(holder) => known
                .map(|at| self.oracle.requests[at].phone_code(holder, &self.lab))
                .unwrap_or_else(|| "12345678".into()),
        }
    }

    fn totp(&self, person: &str, from_now: i8) -> String {
        totp::shows(person, totp::step(clock::unix()).saturating_add_signed(from_now.into()))
    }

    /// The eight digits that a device makes of what stands on the terminal.
    fn scanned(&self, login: usize, holder: Holder) -> String {
        let Some(drawn) = self.logins[login].drawn() else { return "12345678".into() };
        let (challenge, visit) = (qr::scan(&drawn.rows), self.oracle.logins[login].visit);
        let shown = (challenge.service.as_str(), challenge.user.as_str(), challenge.address.as_str());
        let address = visit.address(login).unwrap_or_default();
        assert_eq!(shown, (visit.service(), visit.account(), address.as_str()), "what the phone shows");
        let (device, host) = (&CAST.devices[number(holder)], &self.lab.app.host.public);
        phone_code::at_device(device.seal_key(), &device.card().hash, host, &challenge).unwrap().to_string()
    }

    fn babble(&mut self, login: usize, what: Babble) {
        let begin = r#"{"version":1,"stage":"auth","service":"sshd","user":"root"}"#;
        let call = |name, parameters| {
            format!(r#"{{"method":"org.countersign.Login.{name}","parameters":{parameters}}}"#).into_bytes()
        };
        let mut bytes = match what {
            Babble::Continue => call("Continue", "{}"),
            Babble::Begin => call("Begin", begin),
            Babble::Garbage => b"\xff\xfe{".to_vec(),
            Babble::Half => return self.logins[login].babble(b"{\"method\":", false),
            Babble::Flood => vec![b' '; MAX_FRAME + 10],
        };
        bytes.push(END);
        self.logins[login].babble(&bytes, true);
    }

    /// A device decides. What is not made rightly must be worth nothing.
    fn decide(&mut self, request: usize, by: Holder, answer: Answer, how: How, now: bool) {
        let oracle = &self.oracle;
        let other = |other: u8| back(oracle.requests.len(), other).unwrap_or(request);
        let asked = &oracle.requests[request].asked;
        let wants_code = answer == Answer::Approve && asked.request.confirm == Confirm::Code;
        let mut code = wants_code.then(|| code(request, by));
        let (mut about, mut sealed_to, mut id) = (request, request, request);
        let (mut signer, mut sender) = (by, by);
        match how {
            How::Leasing { .. }
            | How::Rightly
            | How::OfOtherList
            | How::OtherNamespace
            | How::Flipped(_)
            | How::FlippedEnvelope(_)
            | How::LastOne => {}
            How::About(number) => about = other(number),
            How::SealedTo(number) => sealed_to = other(number),
            How::InEnvelopeOf(number) => id = other(number),
            How::SignedBy(holder) => signer = holder,
            How::SentAs(holder) => sender = holder,
            How::NoCode => code = None,
        }
        let is_other_list = matches!(how, How::OfOtherList);
        let mut is_signed = about == request && signer == by && !is_other_list;
        let mut is_sealed = sealed_to == request && id == request && sender == by;
        let (service, issued_at) = (asked.request.service.clone(), asked.request.issued_at);
        let grants = |(seconds, is_of_service): (u64, bool)| {
            let scope = if is_of_service { service.clone() } else { "another".into() };
            Lease { until: issued_at + seconds, scope }
        };
        let mut lease = match how {
            // What does not approve can grant none.
            How::Leasing { seconds, is_of_service } if answer == Answer::Approve => {
                Some((u64::from(seconds), is_of_service))
            }
            _ => None,
        };
        let decision = Decision {
            version: VERSION,
            request: match is_other_list {
                true => of_other_list(&asked.request),
                false => oracle.requests[about].asked.digest.clone(),
            },
            decision: answer,
            code: code.clone(),
            lease: lease.map(grants),
            decided_at: 1,
            counter: u64::try_from(oracle.said.len()).unwrap() + 1,
        };
        let key = &CAST.devices[number(signer)].key;
        let mut message = signed::sign_message(key, &decision).unwrap();
        if matches!(how, How::OtherNamespace) {
            let removal = Removal {
                version: VERSION,
                notice: decision.request.clone(),
                device: key.public_key().id(),
                decided_at: 1,
                counter: 1,
            };
            message.signature = signed::sign_message(key, &removal).unwrap().signature;
            is_signed = false;
        }
        if let (How::LastOne, Some(last)) = (how, oracle.said.iter().rfind(|said| said.by == by)) {
            is_signed = last.is_signed && last.request == request;
            (code, message.bytes, lease) = (last.code.clone(), last.bytes.clone(), last.lease);
            message.signature.clone_from(&last.signature);
        }
        let mut sealed = self.seal(sender, id, sealed_to, &message);
        match how {
            How::Flipped(bit) => is_sealed &= !flip_sealed(&mut sealed, bit),
            How::FlippedEnvelope(bit) => is_sealed &= !flip(&mut sealed.envelope, bit),
            _ => {}
        }
        // What it says counts, not what was meant.
        let says: Decision = serde_json::from_slice(&message.bytes).unwrap();
        let said = Said {
            request,
            by,
            answer: says.decision,
            code,
            lease,
            is_signed,
            is_genuine: is_signed && is_sealed,
            bytes: message.bytes,
            signature: message.signature,
            sealed: sealed.clone(),
            has_granted: false,
        };
        self.oracle.said.push(said);
        if now {
            self.relay.decision(self.oracle.said.len() - 1, &sealed);
        }
    }

    fn seal(&self, sender: Holder, id: usize, to: usize, message: &SignedMessage) -> Sealed {
        let (id, to) = (&self.oracle.requests[id].asked, &self.oracle.requests[to].asked);
        let mut reply_key = [0; 32];
        Base64::decode(&to.request.reply_key, &mut reply_key).unwrap();
        let device = &CAST.devices[number(sender)];
        device.seal_as(&self.lab, MessageType::Decision, &id.request.id, reply_key, message)
    }
}

/// The digest of a request that is the same but for its list.
fn of_other_list(request: &Request) -> String {
    let list = list::describe("another list\n").unwrap();
    let other = Request { list: Some(list), ..request.clone() };
    digest::sha256_hex(&serde_json::to_vec(&other).unwrap())
}

/// The code that a device shows for a request.
fn code(request: usize, by: Holder) -> String {
    format!("{:06}", 100_000 + request * 10 + number(by))
}

fn back(of: usize, number: u8) -> Option<usize> {
    of.checked_sub(usize::from(number) + 1)
}

/// Flips a bit, where that leaves text. Whether it did.
fn flip(text: &mut String, bit: u16) -> bool {
    let mut bytes = text.clone().into_bytes();
    let at = usize::from(bit) % (bytes.len() * 8);
    bytes[at / 8] ^= 1 << (at % 8);
    match String::from_utf8(bytes) {
        Ok(flipped) => {
            *text = flipped;
            true
        }
        Err(_) => false,
    }
}

/// The same below the base64.
fn flip_sealed(sealed: &mut Sealed, bit: u16) -> bool {
    let mut bytes = Base64::decode_vec(&sealed.sealed).unwrap();
    let at = usize::from(bit) % (bytes.len() * 8);
    bytes[at / 8] ^= 1 << (at % 8);
    sealed.sealed = Base64::encode_string(&bytes);
    true
}

fn rubbish(what: Rubbish) -> Sealed {
    let device = CAST.devices[0].key.public_key().id();
    let envelope = |message_type, id: &str| {
        let to = HOST.public_key().id();
        let envelope =
            Envelope { version: VERSION, message_type, from: device.clone(), to, id: id.to_owned() };
        serde_json::to_string(&envelope).unwrap()
    };
    let nothing = Base64::encode_string(&[0; 3120]);
    match what {
        Rubbish::Unreadable => Sealed { envelope: "}{".into(), sealed: String::new() },
        Rubbish::Huge => Sealed { envelope: " ".repeat(30_000), sealed: nothing },
        Rubbish::OfNobody => {
            Sealed { envelope: envelope(MessageType::Decision, &"0".repeat(32)), sealed: nothing }
        }
        Rubbish::Removal => {
            Sealed { envelope: envelope(MessageType::Removal, &"0".repeat(32)), sealed: nothing }
        }
    }
}
