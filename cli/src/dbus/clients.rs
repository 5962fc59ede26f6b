//! Who has called, and how much of each may be open at a time.

use super::fault::{BUSY, Fault};
use super::talks::Talk;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use tokio::sync::watch;

/// Programs that are remembered.
const MOST: usize = 512;
/// Those of one user; root's as all others'.
const MOST_OF_A_USER: usize = 64;
/// Calls in flight.
const MOST_CALLS: u32 = 64;
/// Those of all who are not known to be root.
const MOST_CALLS_OF_USERS: u32 = 56;
/// Those of one user.
const MOST_CALLS_OF_A_USER: u32 = 16;
/// Those of one program.
const MOST_CALLS_OF_ONE: u32 = 8;
/// Pairings, and test logins, of one user.
const MOST_TALKS_OF_A_USER: usize = 2;
/// Subscriptions of one user.
const MOST_SUBSCRIPTIONS_OF_A_USER: usize = 16;
/// Programs of all users but root that have a conversation or a subscription open: whoever calls beside them has a place.
const MOST_OPEN_OF_USERS: usize = MOST - MOST_CALLS as usize;

/// Of whom a program wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// Of this user.
    Of(String),
    /// Of everybody.
    All,
}

/// A program on the bus, by its unique name, which no other one will ever have.
#[derive(Debug)]
pub(super) struct Client {
    /// The unique name.
    pub(super) name: String,
    /// Whose it is, once the bus has said so.
    pub(super) uid: Cell<Option<u32>>,
    /// What it wants to hear.
    pub(super) scope: RefCell<Option<Scope>>,
    /// Its pairing.
    pub(super) pairing: RefCell<Option<Talk>>,
    /// Its test login.
    pub(super) test: RefCell<Option<Talk>>,
    calls: Cell<u32>,
    /// Ends when the program has left the bus.
    gone: watch::Receiver<()>,
}

impl Client {
    /// Whether it has a call open, or what outlasts one.
    fn has_anything(&self) -> bool {
        self.calls.get() > 0 || self.holds()
    }

    /// Whether it has a conversation or a subscription open.
    fn holds(&self) -> bool {
        self.scope.borrow().is_some() || self.pairing.borrow().is_some() || self.test.borrow().is_some()
    }

    /// Comes back when the program has left the bus.
    pub(super) async fn gone(&self) {
        // Nothing is ever sent.
        let _ = self.gone.clone().changed().await;
    }
}

/// One of them, and what tells its calls that it is gone when this is dropped.
type Known = (Rc<Client>, watch::Sender<()>);

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Clients {
    known: RefCell<HashMap<String, Known>>,
    calls: Cell<u32>,
}

/// A call in flight, counted until it is dropped.
pub(super) struct Call {
    clients: Rc<Clients>,
    /// Whose.
    pub(super) client: Rc<Client>,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.clients.calls.set(self.clients.calls.get().saturating_sub(1));
        self.client.calls.set(self.client.calls.get().saturating_sub(1));
    }
}

impl Clients {
    /// Takes in a call.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn enter(self: &Rc<Self>, name: &str) -> Result<Call, Fault> {
        let mut known = self.known.borrow_mut();
        let client = match known.get(name) {
            Some((client, _)) => Rc::clone(client),
            None => {
                // Those that only stay on the bus must not keep others out; whoever is forgotten may call again.
                if known.len() >= MOST {
                    known.retain(|_, (other, _)| other.has_anything());
                }
                if known.len() >= MOST {
                    return Err(too_many("programs use this service"));
                }
                let (here, gone) = watch::channel(());
                let client = Rc::new(Client {
                    name: name.to_owned(),
                    uid: Cell::new(None),
                    scope: RefCell::default(),
                    pairing: RefCell::default(),
                    test: RefCell::default(),
                    calls: Cell::new(0),
                    gone,
                });
                known.insert(name.to_owned(), (Rc::clone(&client), here));
                client
            }
        };
        let most = if client.uid.get() == Some(0) { MOST_CALLS } else { MOST_CALLS_OF_USERS };
        if self.calls.get() >= most || client.calls.get() >= MOST_CALLS_OF_ONE {
            return Err(too_many("calls are open"));
        }
        self.calls.set(self.calls.get() + 1);
        client.calls.set(client.calls.get() + 1);
        Ok(Call { clients: Rc::clone(self), client })
    }

    /// Notes whose a program is, as the bus says.
    ///
    /// # Errors
    /// When that user has too much open.
    pub(super) fn is_of(&self, client: &Client, uid: u32) -> Result<(), Fault> {
        client.uid.set(Some(uid));
        let count = || {
            let known = self.known.borrow();
            let own = known.values().filter(|(other, _)| other.uid.get() == Some(uid));
            own.fold((0, 0), |(programs, calls), (other, _)| (programs + 1, calls + other.calls.get()))
        };
        let (mut programs, calls) = count();
        if programs > MOST_OF_A_USER {
            let is_idle = |other: &Client| other.uid.get() == Some(uid) && !other.has_anything();
            self.known.borrow_mut().retain(|_, (other, _)| !is_idle(other));
            (programs, _) = count();
        }
        if programs > MOST_OF_A_USER {
            // Calls end with an error and leave no trace, so that one more does not count again and again.
            self.known.borrow_mut().remove(&client.name);
            return Err(too_many("of your programs use this service"));
        }
        if calls > MOST_CALLS_OF_A_USER {
            return Err(too_many("of your calls are open"));
        }
        Ok(())
    }

    /// Whether the user of this program may have one more conversation of a kind.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn may_talk(
        &self,
        client: &Client,
        which: impl Fn(&Client) -> &RefCell<Option<Talk>>,
    ) -> Result<(), Fault> {
        let open = |other: &Client| other.name != client.name && which(other).borrow().is_some();
        if self.of_same(client, open) >= MOST_TALKS_OF_A_USER {
            return Err(too_many("of your programs have one open"));
        }
        self.may_hold(client)
    }

    /// Whether the user of this program may have one more subscription.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn may_subscribe(&self, client: &Client) -> Result<(), Fault> {
        let open = |other: &Client| other.name != client.name && other.scope.borrow().is_some();
        if self.of_same(client, open) >= MOST_SUBSCRIPTIONS_OF_A_USER {
            return Err(too_many("of your programs have subscribed"));
        }
        self.may_hold(client)
    }

    /// Whether one more program may have something open that outlasts its calls.
    fn may_hold(&self, client: &Client) -> Result<(), Fault> {
        let counts = |other: &Client| other.uid.get() != Some(0) && other.holds();
        if client.uid.get() == Some(0) || client.holds() {
            return Ok(());
        }
        match self.known.borrow().values().filter(|(other, _)| counts(other)).count() < MOST_OPEN_OF_USERS {
            true => Ok(()),
            false => Err(too_many("programs of all users have something open")),
        }
    }

    fn of_same(&self, client: &Client, is_meant: impl Fn(&Client) -> bool) -> usize {
        let known = self.known.borrow();
        known.values().filter(|(other, _)| other.uid.get() == client.uid.get() && is_meant(other)).count()
    }

    /// A program has left the bus: what it had open ends.
    pub(super) fn left(&self, name: &str) {
        self.known.borrow_mut().remove(name);
    }

    /// Whether nobody is left who has called.
    pub(super) fn is_empty(&self) -> bool {
        self.known.borrow().is_empty()
    }

    /// Who has subscribed.
    pub(super) fn subscribers(&self) -> Vec<(Rc<Client>, Scope)> {
        let known = self.known.borrow();
        let of = |client: &Rc<Client>| Some((Rc::clone(client), client.scope.borrow().clone()?));
        known.values().filter_map(|(client, _)| of(client)).collect()
    }
}

fn too_many(what: &str) -> Fault {
    Fault::new(BUSY, format!("too many {what}; end one, or try again in a moment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_and_a_user_have_a_bounded_number_of_calls() {
        let clients = Rc::new(Clients::default());
        let own: Vec<_> = (0..MOST_CALLS_OF_ONE).map(|_| clients.enter(":1.1").unwrap()).collect();
        assert_eq!(clients.enter(":1.1").err().unwrap().name, BUSY);
        clients.is_of(&own[0].client, 1000).unwrap();
        let other: Vec<_> = (0..MOST_CALLS_OF_ONE).map(|_| clients.enter(":1.2").unwrap()).collect();
        clients.is_of(&other[0].client, 1000).unwrap();
        let third = clients.enter(":1.3").unwrap();
        assert!(clients.is_of(&third.client, 1000).is_err());
        assert!(clients.is_of(&clients.enter(":1.4").unwrap().client, 1001).is_ok());
        drop(own);
        assert!(clients.is_of(&third.client, 1000).is_ok());
    }

    #[test]
    fn users_cannot_take_all_calls_nor_be_remembered_without_end() {
        let clients = Rc::new(Clients::default());
        let root = clients.enter(":1.0").unwrap();
        clients.is_of(&root.client, 0).unwrap();
        drop(root);
        let held: Vec<_> = (1..100).map_while(|n| clients.enter(&format!(":1.{n}")).ok()).collect();
        assert_eq!(held.len(), MOST_CALLS_OF_USERS as usize);
        assert!(clients.enter(":1.0").is_ok());
        drop(held);
        for n in 0..2 * MOST {
            if let Ok(call) = clients.enter(&format!(":2.{n}")) {
                let _ = clients.is_of(&call.client, 1000);
            }
        }
        let of = |uid| clients.known.borrow().values().filter(|(one, _)| one.uid.get() == Some(uid)).count();
        assert!(of(1000) <= MOST_OF_A_USER);
        // What a user has open counts, and is not forgotten for one more.
        for n in 0..2 * MOST_OF_A_USER {
            let call = clients.enter(&format!(":3.{n}")).unwrap();
            if clients.is_of(&call.client, 1001).is_ok() {
                call.client.scope.replace(Some(Scope::All));
            }
        }
        assert_eq!((of(1001), clients.subscribers().len()), (MOST_OF_A_USER, MOST_OF_A_USER));
    }

    #[test]
    fn users_that_hold_all_they_may_leave_places_for_calls_and_for_root() {
        let clients = Rc::new(Clients::default());
        let mut held = 0;
        for n in 0..2 * MOST {
            let Ok(call) = clients.enter(&format!(":1.{n}")) else { continue };
            let uid = 1000 + u32::try_from(n / MOST_SUBSCRIPTIONS_OF_A_USER).unwrap();
            if clients.is_of(&call.client, uid).is_ok() && clients.may_subscribe(&call.client).is_ok() {
                call.client.scope.replace(Some(Scope::All));
                held += 1;
            }
        }
        assert_eq!(held, MOST_OPEN_OF_USERS);
        let calls: Vec<_> = (0..).map_while(|n| clients.enter(&format!(":2.{n}")).ok()).collect();
        assert_eq!(calls.len(), MOST_CALLS_OF_USERS as usize);
        drop(calls);
        let root = clients.enter(":3.1").unwrap();
        clients.is_of(&root.client, 0).unwrap();
        clients.may_subscribe(&root.client).unwrap();
        clients.may_talk(&root.client, |client| &client.pairing).unwrap();
        // Who has something open already may have more of it.
        let one = clients.enter(":1.0").unwrap();
        clients.may_talk(&one.client, |client| &client.pairing).unwrap();
    }

    #[test]
    fn programs_that_only_stay_on_the_bus_keep_nobody_out() {
        let clients = Rc::new(Clients::default());
        let busy = clients.enter(":1.1").unwrap();
        let subscribed = Rc::clone(&clients.enter(":1.2").unwrap().client);
        subscribed.scope.replace(Some(Scope::All));
        for n in 0..2 * MOST {
            let call = clients.enter(&format!(":2.{n}")).unwrap();
            clients.is_of(&call.client, u32::try_from(n).unwrap()).unwrap();
        }
        assert!(clients.known.borrow().len() <= MOST);
        assert_eq!(clients.subscribers().len(), 1);
        assert!(clients.known.borrow().contains_key(&busy.client.name));
    }

    #[tokio::test]
    async fn who_leaves_the_bus_is_forgotten_and_their_calls_hear_of_it() {
        let clients = Rc::new(Clients::default());
        let call = clients.enter(":1.7").unwrap();
        assert!(!clients.is_empty());
        clients.left(":1.7");
        assert!(clients.is_empty());
        tokio::time::timeout(std::time::Duration::from_secs(5), call.client.gone()).await.unwrap();
    }
}
