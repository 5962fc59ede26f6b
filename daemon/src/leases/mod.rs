//! Leases: for a while nobody is asked again, because a person has said so beside an approval.
//!
//! What is kept is the request and the decision as they were signed. Each use verifies both anew, against
//! the approvers, revocations and devices of that moment, so that whatever ends a device ends its leases.

mod binding;
mod kept;
#[cfg(test)]
mod tests;

pub use binding::{Binding, Place};
pub(crate) use kept::Granted;
pub use kept::{Lease, Leased, Offer};

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_policy::{Lease as Ceiling, MAX_WAIT};
use countersign_protocol::message::Confirm;

use crate::app::App;
use crate::clock;
use crate::files;
use crate::log::Log;

/// Most leases; the oldest goes first.
const MOST: usize = 256;
/// Most leases that one person has granted; the oldest goes first.
const MOST_OF_A_PERSON: usize = 32;
/// Longest file in bytes: a lease is two messages of 2 KiB, their signatures and some names, as JSON in JSON.
const MAX_FILE: usize = 8 * 1024 * 1024;
/// Which boot this is, in the kernel's word.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Length of a boot's id.
const BOOT_ID_LENGTH: usize = 36;

/// The leases that hold.
#[derive(Debug)]
pub struct Leases {
    path: PathBuf,
    store: files::Store,
    /// Without it nothing tells a reboot: there are no leases.
    boot: Option<String>,
    /// The oldest first.
    kept: RefCell<Vec<Lease>>,
    /// Who has said no lately, and when (boot clock): what they approved before is no lease any more.
    refused: RefCell<HashMap<String, Duration>>,
}

/// Which boot of the machine this is.
#[must_use]
pub fn boot_id() -> Option<String> {
    let mut text = String::new();
    std::fs::File::open(BOOT_ID).ok()?.take(BOOT_ID_LENGTH as u64).read_to_string(&mut text).ok()?;
    let is_id = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    (text.len() == BOOT_ID_LENGTH && text.bytes().all(is_id)).then_some(text)
}

impl Leases {
    /// Reads the file, or starts without one. One that cannot be read costs its leases, and nobody is let in for it.
    #[must_use]
    pub fn open(path: &Path, owner: files::Owner, boot: Option<String>, log: &Log) -> Self {
        let kept = files::read_json::<Vec<Lease>>(path, owner, MAX_FILE).unwrap_or_else(|error| {
            log.error(&format!("the leases are lost, so that people are asked again: {error}"));
            None
        });
        let mut kept = kept.unwrap_or_default();
        match &boot {
            Some(boot) => kept.retain(|lease| !lease.is_over(boot)),
            None => kept.clear(),
        }
        kept.truncate(MOST);
        Self {
            path: path.to_owned(),
            store: files::Store::new(path),
            boot,
            kept: RefCell::new(kept),
            refused: RefCell::default(),
        }
    }

    /// Whether there can be any.
    #[must_use]
    pub fn can_be(&self) -> bool {
        self.boot.is_some()
    }

    /// Keeps the lease of a granted request, in place of an earlier one for the same. [`Self::write`] puts it on
    /// the disk.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn add(&self, offer: &Offer, granted: &Granted<'_>) -> Result<Lease, String> {
        let boot = self.boot.as_deref().ok_or("without /proc/sys/kernel/random/boot_id there are none")?;
        if self.refused.borrow().get(granted.person).is_some_and(|refused| *refused >= granted.since) {
            return Err(format!("{} has denied or reported something meanwhile", granted.person));
        }
        let lease = Lease::new(offer, granted, boot)?;
        let mut kept = self.kept.borrow_mut();
        kept.retain(|known| {
            !known.is_over(boot) && (known.binding != lease.binding || known.person != lease.person)
        });
        while kept.iter().filter(|known| known.person == lease.person).count() >= MOST_OF_A_PERSON {
            kept.iter().position(|known| known.person == lease.person).map(|at| kept.remove(at));
        }
        if kept.len() >= MOST {
            kept.remove(0);
        }
        kept.push(lease.clone());
        Ok(lease)
    }

    /// A lease that is good for a login, used once. Uses that are counted are on the disk afterwards.
    ///
    /// # Errors
    /// When a use could not be written down: then it lets nobody in.
    pub(crate) async fn take(
        &self,
        app: &App,
        binding: &Binding,
        person: &str,
        (ceiling, confirm): (Ceiling, Confirm),
    ) -> io::Result<Option<Leased>> {
        let Some(boot) = self.boot.as_deref() else { return Ok(None) };
        let is_it = |lease: &Lease| lease.binding == *binding && lease.person == person;
        let Some(lease) = self.kept.borrow().iter().find(|lease| is_it(lease)).cloned() else {
            return Ok(None);
        };
        if let Err(why) = lease.verify(app, boot) {
            app.log.notice(&format!("a lease of {person} has ended: {why}"));
            self.end(|known| known.id == lease.id);
            self.write(&app.log).await;
            return Ok(None);
        }
        // In memory first: of many at once as many are let in as there are uses left.
        let counted = {
            let mut kept = self.kept.borrow_mut();
            let Some(known) = kept.iter_mut().find(|known| known.id == lease.id) else { return Ok(None) };
            if !known.is_enough(ceiling, confirm) {
                return Ok(None);
            }
            known.used = known.used.saturating_add(1);
            known.most(ceiling).is_some()
        };
        if counted {
            self.store.write(|| serde_json::to_vec(&*self.kept.borrow())).await?;
        }
        // It may have ended while that was written.
        let still = self.kept.borrow().iter().find(|known| known.id == lease.id).cloned();
        Ok(still.and_then(|lease| lease.verify(app, boot).ok()))
    }

    /// A person has said no: their leases end, and no request that is open now becomes one. [`Self::write`] makes it last.
    pub(crate) fn refused(&self, person: &str) -> Vec<Lease> {
        let now = clock::boot();
        let mut refused = self.refused.borrow_mut();
        refused.retain(|_, at| now.saturating_sub(*at) < MAX_WAIT);
        refused.insert(person.to_owned(), now);
        self.end(|lease| lease.person == person)
    }

    /// Ends leases; gives them. [`Self::write`] makes it last.
    pub(crate) fn end(&self, goes: impl Fn(&Lease) -> bool) -> Vec<Lease> {
        let mut kept = self.kept.borrow_mut();
        let (gone, stays) = std::mem::take(&mut *kept).into_iter().partition(|lease| goes(lease));
        *kept = stays;
        gone
    }

    /// Those that hold, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Lease> {
        let Some(boot) = &self.boot else { return Vec::new() };
        self.kept.borrow().iter().filter(|lease| !lease.is_over(boot)).cloned().collect()
    }

    /// Writes them down. Where that fails the file goes: what has ended must not come back with a restart.
    pub(crate) async fn write(&self, log: &Log) {
        if let Err(error) = self.store.write(|| serde_json::to_vec(&*self.kept.borrow())).await {
            log.error(&format!("leases are not kept across a restart: {error}"));
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
