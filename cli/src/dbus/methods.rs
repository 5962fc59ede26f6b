//! What each method does. `allow` stands at the beginning of all that is not about the caller's own conversation.

use super::authority::authorize;
use super::clients::{Client, Scope};
use super::fault::{BAD_CALL, Fault, NOT_AUTHORIZED, NOT_FOUND};
use super::link::{Link, SHORT};
use super::service::{Service, parameters, reply};
use super::talks::{Talk, go_on};
use super::values::{dict, dicts, word};
use countersign_protocol::login::{self, Begin, Continue, FIRST_REPLY_MS, Stage, Step, Verdict};
use countersign_protocol::manage::{
    Authenticator, Call, Codes, CodesLeft, Devices, Leases, OnceCode, PairingAnswered, PairingChecked,
    PairingStep, Request, Requests, Revoked, Rung,
};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;
use zbus::Message;
use zbus::message::Flags;
use zeroize::Zeroizing;

/// Longest text of a parameter in bytes.
const MAX_TEXT: usize = 300;
/// Requests that are listed at most.
const MOST_REQUESTS: usize = 1000;
/// How long a paired device may take to approve a pairing.
const APPROVAL_TIME: Duration = Duration::from_secs(90);
/// How long a new device may take to answer.
const PAIRING_TIME: Duration = Duration::from_secs(5 * 60 + 10);
/// How long a new device may take to answer a test ring.
const RING_TIME: Duration = Duration::from_secs(45);
/// How long a subscription waits for the daemon's events.
const HEARD_TIME: Duration = Duration::from_secs(5);
/// A code that the caller's own conversation asks for.
const MAX_CODE: usize = 64;
/// Everybody, where a list is asked for.
const EVERYBODY: &str = "*";

/// What polkit is asked: about the caller's own things, and about others'.
struct Rights {
    /// Nothing where it takes an administrator in any case.
    own: Option<&'static str>,
    others: &'static str,
    /// Whether everybody may be meant.
    many: bool,
}

const VIEW: Rights = Rights { own: Some("view-own"), others: "view-all", many: true };
const END_LEASES: Rights = Rights { own: Some("end-own-leases"), others: "end-leases", many: true };
const REMOVE_DEVICE: Rights = Rights { own: Some("remove-own-device"), others: "remove-device", many: false };
const PAIR: Rights = Rights { own: Some("pair-own-device"), others: "pair-device", many: false };
const PAIR_AS_ADMINISTRATOR: Rights = Rights { own: None, ..PAIR };
const TEST_LOGIN: Rights = Rights { own: Some("test-own-login"), others: "test-login", many: false };
const MAKE_CODES: Rights = Rights { own: None, others: "make-codes", many: false };

/// One call, and whose.
struct Asked<'a> {
    service: &'a Service,
    message: &'a Message,
    client: &'a Client,
    uid: u32,
}

/// What was allowed: a connection to the daemon with just these rights, and whose things are meant.
struct Allowed {
    link: Link,
    /// Everybody's without.
    user: Option<String>,
}

/// Carries out a method; nothing where there is none of that name.
///
/// # Errors
/// Why it was not carried out.
pub(super) async fn call(
    service: &Service,
    message: &Message,
    client: &Client,
    uid: u32,
) -> Result<Option<Message>, Fault> {
    let header = message.header();
    let Some(member) = header.member() else { return Ok(None) };
    let asked = Asked { service, message, client, uid };
    let done = match member.as_str() {
        "ListRequests" => asked.list_requests().await,
        "CancelRequest" => asked.cancel_request().await,
        "ListDevices" => asked.list_devices().await,
        "RemoveDevice" => asked.remove_device().await,
        "StartPairing" => asked.start_pairing().await,
        "EnterApprovalCode" => asked.enter_approval_code().await,
        "WaitForDevice" => asked.wait_for_device().await,
        "EnterPairingCode" => asked.enter_pairing_code().await,
        "RingDevice" => asked.ring_device().await,
        "StopPairing" => asked.stop(|client| &client.pairing, "pairing"),
        "ListLeases" => asked.list_leases().await,
        "EndLeases" => asked.end_leases().await,
        "CodesLeft" => asked.codes_left().await,
        "NewRecoveryCodes" => asked.new_recovery_codes().await,
        "NewOnceCode" => asked.new_once_code().await,
        "NewAuthenticator" => asked.new_authenticator().await,
        "StartTestLogin" => asked.start_test_login().await,
        "ContinueTestLogin" => asked.continue_test_login().await,
        "StopTestLogin" => asked.stop(|client| &client.test, "test login"),
        "Subscribe" => asked.subscribe().await,
        "Unsubscribe" => asked.unsubscribe(),
        _ => return Ok(None),
    };
    done.map(Some)
}

impl Asked<'_> {
    /// Has polkit allow it, and connects to the daemon with the rights that this gives and no others.
    async fn allow(&self, user: &str, rights: &Rights) -> Result<Allowed, Fault> {
        limited("the user's name", user, MAX_TEXT)?;
        let (own, acting) = Link::open_for(&self.service.run, self.uid, false).await?;
        let name = acting.user.unwrap_or_default();
        if user == EVERYBODY && !rights.many {
            return Err(Fault::new(BAD_CALL, "one user has to be named"));
        }
        if user.is_empty() && name.is_empty() {
            return Err(Fault::new(NOT_FOUND, "you are no user of this host: name one"));
        }
        let is_own = user.is_empty() || (!name.is_empty() && user.eq_ignore_ascii_case(&name));
        if let (true, Some(action)) = (is_own, rights.own) {
            self.authorize(action, &name).await?;
            return Ok(Allowed { link: own, user: Some(name) });
        }
        drop(own);
        let whose = if is_own { name } else { user.to_owned() };
        self.authorize(rights.others, &whose).await?;
        let (link, _) = Link::open_for(&self.service.run, self.uid, true).await?;
        Ok(Allowed { link, user: (whose != EVERYBODY).then_some(whose) })
    }

    async fn authorize(&self, action: &str, user: &str) -> Result<(), Fault> {
        let header = self.message.header();
        let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        authorize(&self.service.connection, &self.client.name, action, user, interactive).await
    }

    fn parameters<T>(&self) -> Result<T, Fault>
    where
        T: for<'a> zbus::wire::DynamicDeserialize<'a>,
    {
        parameters(self.message)
    }

    async fn list_requests(&self) -> Result<Message, Fault> {
        let user: String = self.parameters()?;
        let Allowed { mut link, user } = self.allow(&user, &VIEW).await?;
        let mut all: Vec<Request> = Vec::new();
        loop {
            let after = all.last().map(|request| request.id.clone());
            let next: Requests = link.call(&Call::Requests { user: user.clone(), after }, SHORT).await?;
            let is_end = next.requests.is_empty() || next.more == 0;
            all.extend(next.requests);
            if is_end || all.len() >= MOST_REQUESTS {
                all.truncate(MOST_REQUESTS);
                return reply(self.message, &dicts(&all));
            }
        }
    }

    /// One's own by one's own right; of anything else nothing is told before an administrator has authorized it.
    async fn cancel_request(&self) -> Result<Message, Fault> {
        let id: String = self.parameters()?;
        limited("the id", &id, MAX_TEXT)?;
        let call = Call::CancelRequest { id };
        let (mut own, acting) = Link::open_for(&self.service.run, self.uid, false).await?;
        if let Some(user) = acting.user {
            self.authorize("cancel-own-request", &user).await?;
            match own.call::<Request>(&call, SHORT).await {
                Err(fault) if fault.name == NOT_FOUND => {}
                done => return reply(self.message, &dict(&done?)),
            }
        }
        drop(own);
        self.authorize("cancel-request", "").await?;
        let (mut link, _) = Link::open_for(&self.service.run, self.uid, true).await?;
        let was: Request = link.call(&call, SHORT).await?;
        reply(self.message, &dict(&was))
    }

    async fn list_devices(&self) -> Result<Message, Fault> {
        let user: String = self.parameters()?;
        let Allowed { mut link, user } = self.allow(&user, &VIEW).await?;
        let found: Devices = link.call(&Call::Devices { user }, SHORT).await?;
        reply(self.message, &dicts(&found.devices))
    }

    async fn remove_device(&self) -> Result<Message, Fault> {
        let (user, device): (String, String) = self.parameters()?;
        limited("the device", &device, MAX_TEXT)?;
        let Allowed { mut link, user } = self.allow(&user, &REMOVE_DEVICE).await?;
        let user = user.unwrap_or_default();
        let removed: Revoked = link.call(&Call::Revoke { user, device }, SHORT).await?;
        reply(self.message, &(dicts(&removed.devices), removed.still_anothers))
    }

    async fn start_pairing(&self) -> Result<Message, Fault> {
        let (user, as_administrator): (String, bool) = self.parameters()?;
        self.service.clients.may_talk(self.client, |client| &client.pairing)?;
        let rights = if as_administrator { &PAIR_AS_ADMINISTRATOR } else { &PAIR };
        let Allowed { mut link, user } = self.allow(&user, rights).await?;
        // The one before is over, whatever comes of this one.
        self.client.pairing.replace(None);
        let call = Call::Pair { user: user.unwrap_or_default() };
        let step: PairingStep = link.call(&call, SHORT).await.map_err(first_device)?;
        self.service.clients.may_talk(self.client, |client| &client.pairing)?;
        self.client.pairing.replace(Some(Talk::new(link)));
        reply(self.message, &dict(&step))
    }

    async fn enter_approval_code(&self) -> Result<Message, Fault> {
        let code = self.code()?;
        let step: PairingStep =
            self.pair(async |link| link.call(&Call::PairApprove { code }, APPROVAL_TIME).await).await?;
        reply(self.message, &dict(&step))
    }

    async fn wait_for_device(&self) -> Result<Message, Fault> {
        let () = self.parameters()?;
        let answered: PairingAnswered =
            self.pair(async |link| link.call(&Call::PairWait {}, PAIRING_TIME).await).await?;
        reply(self.message, &dict(&answered))
    }

    async fn enter_pairing_code(&self) -> Result<Message, Fault> {
        let code = self.code()?;
        let checked: PairingChecked =
            self.pair(async |link| link.call(&Call::PairCode { code }, SHORT).await).await?;
        reply(self.message, &dict(&checked))
    }

    async fn ring_device(&self) -> Result<Message, Fault> {
        let () = self.parameters()?;
        let rung: Rung = self.pair(async |link| link.call(&Call::Ring {}, RING_TIME).await).await?;
        reply(self.message, &rung.answer.map(|answer| word(&answer)).unwrap_or_default())
    }

    async fn pair<T>(&self, step: impl AsyncFnOnce(&mut Link) -> Result<T, Fault>) -> Result<T, Fault> {
        go_on(&self.client.pairing, "pairing", step).await
    }

    fn code(&self) -> Result<Zeroizing<String>, Fault> {
        let code = Zeroizing::new(self.parameters::<String>()?);
        limited("the code", &code, MAX_CODE)?;
        Ok(code)
    }

    async fn list_leases(&self) -> Result<Message, Fault> {
        let user: String = self.parameters()?;
        let Allowed { mut link, user } = self.allow(&user, &VIEW).await?;
        let found: Leases = link.call(&Call::Leases { user }, SHORT).await?;
        reply(self.message, &(dicts(&found.leases), found.more))
    }

    async fn end_leases(&self) -> Result<Message, Fault> {
        let (user, id): (String, String) = self.parameters()?;
        limited("the id", &id, MAX_TEXT)?;
        let Allowed { mut link, user } = self.allow(&user, &END_LEASES).await?;
        let id = (!id.is_empty()).then_some(id);
        let ended: Leases = link.call(&Call::EndLeases { user, id }, SHORT).await?;
        reply(self.message, &dicts(&ended.leases))
    }

    async fn codes_left(&self) -> Result<Message, Fault> {
        let user: String = self.parameters()?;
        let Allowed { mut link, user } = self.allow(&user, &Rights { many: false, ..VIEW }).await?;
        let left: CodesLeft = link.call(&Call::CodesLeft { user: user.unwrap_or_default() }, SHORT).await?;
        reply(self.message, &dict(&left))
    }

    async fn new_recovery_codes(&self) -> Result<Message, Fault> {
        let (user, count): (String, u8) = self.parameters()?;
        let Allowed { mut link, user } = self.allow(&user, &MAKE_CODES).await?;
        let call = Call::NewCodes { user: user.unwrap_or_default(), count };
        let made: Codes = link.call(&call, SHORT).await?;
        reply(self.message, &made.codes.iter().map(|code| code.as_str()).collect::<Vec<_>>())
    }

    async fn new_once_code(&self) -> Result<Message, Fault> {
        let (user, seconds, reason): (String, u32, String) = self.parameters()?;
        limited("the reason", &reason, MAX_TEXT)?;
        let Allowed { mut link, user } = self.allow(&user, &MAKE_CODES).await?;
        let call = Call::NewOnce { user: user.unwrap_or_default(), seconds, reason };
        let made: OnceCode = link.call(&call, SHORT).await?;
        reply(self.message, &(made.code.as_str(), made.ends_at))
    }

    async fn new_authenticator(&self) -> Result<Message, Fault> {
        let user: String = self.parameters()?;
        let Allowed { mut link, user } = self.allow(&user, &MAKE_CODES).await?;
        let call = Call::NewAuthenticator { user: user.unwrap_or_default() };
        let made: Authenticator = link.call(&call, SHORT).await?;
        reply(self.message, &(made.secret.as_str(), made.link.as_str()))
    }

    async fn start_test_login(&self) -> Result<Message, Fault> {
        let (user, service): (String, String) = self.parameters()?;
        limited("the service", &service, MAX_TEXT)?;
        self.service.clients.may_talk(self.client, |client| &client.test)?;
        let Allowed { mut link, user } = self.allow(&user, &TEST_LOGIN).await?;
        self.client.test.replace(None);
        let begin = Begin {
            version: login::VERSION,
            stage: Stage::Auth,
            service,
            user: user.unwrap_or_default(),
            remote_host: None,
            remote_user: None,
            terminal: None,
            ssh_auth_info: None,
            command_line: Some("test login over D-Bus".to_owned()),
            peer: None,
            session: None,
            silent: false,
            token: None,
            passwordless: false,
            action: None,
        };
        let begin = login::Call::Begin(Box::new(begin));
        let step: Step = link.call(&begin, Duration::from_millis(FIRST_REPLY_MS)).await?;
        self.service.clients.may_talk(self.client, |client| &client.test)?;
        let talk = Talk::new(link);
        talk.set_patience(&step);
        if !matches!(step, Step::Verdict(_)) {
            self.client.test.replace(Some(talk));
        }
        self.told(&step)
    }

    async fn continue_test_login(&self) -> Result<Message, Fault> {
        let answer = Zeroizing::new(self.parameters::<String>()?);
        limited("the answer", &answer, MAX_TEXT)?;
        let patience = self.client.test.borrow().as_ref().map(Talk::patience).unwrap_or_default();
        let call = login::Call::Continue(Continue { answer: Some(answer), cannot_ask: false });
        let step: Step =
            go_on(&self.client.test, "test login", async |link| link.call(&call, patience).await).await?;
        match &step {
            Step::Verdict(_) => drop(self.client.test.replace(None)),
            _ => self.client.test.borrow().iter().for_each(|talk| talk.set_patience(&step)),
        }
        self.told(&step)
    }

    /// A step of a test login. A grant's token is for PAM's session stage alone, and stays here.
    fn told(&self, step: &Step) -> Result<Message, Fault> {
        let told = match step {
            Step::Say { text, deadline_ms, .. } => {
                json!({ "step": "say", "text": text, "deadline_ms": deadline_ms })
            }
            Step::Ask { text, deadline_ms } => {
                json!({ "step": "ask", "text": text, "deadline_ms": deadline_ms })
            }
            Step::Wait { deadline_ms } => json!({ "step": "wait", "deadline_ms": deadline_ms }),
            Step::Verdict(Verdict { outcome, text, token: _ }) => {
                json!({ "step": "verdict", "outcome": outcome, "text": text })
            }
        };
        reply(self.message, &dict(&told))
    }

    fn stop(
        &self,
        which: impl Fn(&Client) -> &std::cell::RefCell<Option<Talk>>,
        what: &str,
    ) -> Result<Message, Fault> {
        let () = self.parameters()?;
        match which(self.client).replace(None) {
            Some(_) => reply(self.message, &()),
            None => Err(Fault::new(NOT_FOUND, format!("you have no {what} open"))),
        }
    }

    async fn subscribe(&self) -> Result<Message, Fault> {
        let user: String = self.parameters()?;
        self.service.clients.may_subscribe(self.client)?;
        let Allowed { user, .. } = self.allow(&user, &VIEW).await?;
        self.service.clients.may_subscribe(self.client)?;
        self.client.scope.replace(Some(user.map_or(Scope::All, Scope::Of)));
        self.service.subscribed.notify_one();
        // What happens after the answer is told.
        let mut heard = self.service.heard.subscribe();
        let waited = timeout(HEARD_TIME, heard.wait_for(|heard| *heard)).await;
        if !waited.is_ok_and(|heard| heard.is_ok()) {
            self.client.scope.replace(None);
            return Err(Fault::down("its events are not heard"));
        }
        reply(self.message, &())
    }

    fn unsubscribe(&self) -> Result<Message, Fault> {
        let () = self.parameters()?;
        match self.client.scope.replace(None) {
            Some(_) => reply(self.message, &()),
            None => Err(Fault::new(NOT_FOUND, "you have not subscribed")),
        }
    }
}

fn limited(what: &str, text: &str, most: usize) -> Result<(), Fault> {
    match text.len() > most {
        true => Err(Fault::new(BAD_CALL, format!("{what} is over {most} bytes"))),
        false => Ok(()),
    }
}

/// Without a device that could approve it, it takes an administrator; here that is said by a parameter.
fn first_device(fault: Fault) -> Fault {
    match fault.name {
        NOT_AUTHORIZED => {
            Fault::new(NOT_AUTHORIZED, format!("{}, or StartPairing as_administrator", fault.text))
        }
        _ => fault,
    }
}
