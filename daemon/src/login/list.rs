//! The list that belongs to an action: it comes in parts, since it is longer than a frame.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::digest;
use countersign_protocol::list::{self, ListError};
use countersign_protocol::login::{Call, Continue, FIRST_REPLY_MS, Outcome, Step, Verdict};
use countersign_protocol::message::List;
use tokio::time::timeout;

use super::ending::Ending;
use super::{BAD_CALL, Logins};
use crate::caller::Caller;
use crate::connection::Connection;

/// Most lists at once that root's programs have the daemon hold, and most of everybody else: 4 MiB each.
const MOST: usize = 16;
/// Most of one user who is not root.
const MOST_OF_ONE: usize = 2;
/// How long all of a list may take to arrive.
const TIME: Duration = Duration::from_secs(10);

/// A whole list.
#[derive(Debug)]
pub struct ListText {
    text: String,
    /// SHA-256 of it in hex.
    pub(super) sha256: String,
    _place: Place,
}

/// A list, as one request names it: with a key that is used for this request alone.
pub struct Enclosed {
    list: Rc<ListText>,
    pub(super) named: List,
}

impl Enclosed {
    /// With a fresh key.
    ///
    /// # Errors
    /// When it cannot be a list.
    pub(super) fn new(list: &Rc<ListText>) -> Result<Self, ListError> {
        Ok(Self { named: list::describe(&list.text)?, list: Rc::clone(list) })
    }

    /// Encrypted for the devices of that request.
    ///
    /// # Errors
    /// When it cannot be encrypted.
    pub(super) fn seal(&self, id: &str) -> Result<Vec<u8>, ListError> {
        list::seal(&self.named, id, &self.list.text)
    }
}

/// The lists that are held now.
#[derive(Debug, Default, Clone)]
pub(super) struct Lists(Rc<RefCell<HashMap<u32, usize>>>);

/// One of them; ends when dropped.
#[derive(Debug)]
struct Place {
    lists: Lists,
    uid: u32,
}

impl Lists {
    fn enter(&self, caller: &Caller) -> Option<Place> {
        let mut held = self.0.borrow_mut();
        let of_others: usize = held.iter().filter(|(uid, _)| **uid != 0).map(|(_, number)| number).sum();
        let own = held.get(&caller.uid).copied().unwrap_or_default();
        let is_full = match caller.uid {
            0 => own >= MOST,
            _ => own >= MOST_OF_ONE || of_others >= MOST,
        };
        if is_full {
            return None;
        }
        held.insert(caller.uid, own + 1);
        Some(Place { lists: self.clone(), uid: caller.uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.lists.0.borrow_mut();
        if let Some(number) = held.get_mut(&self.uid) {
            *number -= 1;
            if *number == 0 {
                held.remove(&self.uid);
            }
        }
    }
}

/// Reads a list of so many bytes. Where there is none to be had the caller was told why, if it is still there.
///
/// # Errors
/// What the log should say.
pub(super) async fn receive(
    logins: &Logins,
    caller: &Caller,
    connection: &mut Connection,
    bytes: u32,
) -> Result<ListText, String> {
    let Some(place) = logins.lists.enter(caller) else {
        let busy = Ending::busy();
        let verdict = Verdict { outcome: Outcome::Busy, text: busy.text, token: None };
        let _ = connection.reply(Step::Verdict(verdict)).await;
        return Err("too many lists are held at once".to_owned());
    };
    let read = timeout(TIME, parts(connection, bytes)).await;
    match read.unwrap_or_else(|_| Err(format!("the list did not arrive within {} s", TIME.as_secs()))) {
        Ok(text) => Ok(ListText { sha256: digest::sha256_hex(text.as_bytes()), text, _place: place }),
        Err(why) => {
            // The caller may be gone already; it was refused either way.
            let _ = connection.complain(BAD_CALL, why.as_str()).await;
            Err(why)
        }
    }
}

async fn parts(connection: &mut Connection, bytes: u32) -> Result<String, String> {
    let whole = usize::try_from(bytes).map_err(|e| e.to_string())?;
    let mut text = String::new();
    while text.len() < whole {
        connection.reply(Step::Wait { deadline_ms: FIRST_REPLY_MS }).await.map_err(|e| e.to_string())?;
        let part = match connection.recv::<Call>().await {
            Ok(Some(Call::Continue(Continue { answer: Some(part), cannot_ask: false }))) => part,
            Ok(None) => return Err("the caller went away in the middle of its list".to_owned()),
            Ok(Some(_)) => return Err("a part of the list was expected".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        if part.is_empty() || part.len() > whole - text.len() {
            return Err("a part of the list is empty, or more than was announced".to_owned());
        }
        text.push_str(&part);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32) -> Caller {
        Caller { uid, gid: uid, pid: None, root_socket: uid == 0 }
    }

    #[test]
    fn nobody_fills_the_memory_and_nobody_keeps_root_out() {
        let lists = Lists::default();
        let enter = |uid| lists.enter(&caller(uid));
        let mut held: Vec<_> = (1000..1020).flat_map(|uid| [enter(uid), enter(uid), enter(uid)]).collect();
        assert!(held[2].is_none() && held[0].is_some() && held[1].is_some());
        assert_eq!(held.iter().flatten().count(), MOST);
        held.extend((0..MOST).map(|_| enter(0)));
        assert_eq!(held.iter().flatten().count(), 2 * MOST);
        assert!(enter(0).is_none());
        held.clear();
        assert!(lists.0.borrow().is_empty() && enter(1000).is_some());
    }
}
