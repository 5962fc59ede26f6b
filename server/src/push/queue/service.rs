//! Push services, and whose turn it is.

use crate::messages::Key;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Most attempts under way at a time.
const MAX_ACTIVE: usize = 128;
/// The same at one service.
const MAX_PER_SERVICE: usize = 32;
/// The same at a service that does not answer: enough to notice when it does again.
const MAX_WHEN_DOWN: usize = 2;
/// So many attempts in a row without a sensible answer, and a service counts as down.
const DOWN: u32 = 3;
/// Most pushes that wait for one service: half of all that may wait.
const MAX_WAITING: usize = 2048;
/// Most services that are down and remembered.
const MAX_DOWN: usize = 1000;

#[derive(Debug, Default)]
struct Service {
    /// By order of coming.
    ready: BTreeMap<u64, Key>,
    active: usize,
    /// Pushes in any state.
    jobs: usize,
    /// Failures since the last sensible answer.
    failures: u32,
}

impl Service {
    fn has_room(&self) -> bool {
        self.active < if self.failures < DOWN { MAX_PER_SERVICE } else { MAX_WHEN_DOWN }
    }
}

/// All services that have pushes, and those that are down.
#[derive(Debug, Default)]
pub(super) struct Services {
    by_name: HashMap<Arc<str>, Service>,
    /// Those with something ready, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    active: usize,
    number: u64,
}

impl Services {
    /// Whether no more may wait for a service.
    pub(super) fn is_full(&self, name: &Arc<str>) -> bool {
        self.by_name.get(name).is_some_and(|service| service.jobs >= MAX_WAITING)
    }

    /// Counts a push to a service.
    pub(super) fn join(&mut self, name: &Arc<str>) {
        self.by_name.entry(Arc::clone(name)).or_default().jobs += 1;
    }

    /// Counts a push less.
    pub(super) fn leave(&mut self, name: &Arc<str>) {
        let Some(service) = self.by_name.get_mut(name) else { return };
        service.jobs = service.jobs.saturating_sub(1);
        if service.jobs == 0 && service.failures < DOWN {
            self.by_name.remove(name);
        } else if self.by_name.len() > MAX_DOWN {
            self.by_name.retain(|_, service| service.jobs > 0);
        }
    }

    /// Lets a push wait for its turn; gives its number.
    pub(super) fn queue(&mut self, name: &Arc<str>, key: Key) -> u64 {
        self.number += 1;
        let service = self.by_name.entry(Arc::clone(name)).or_default();
        if service.ready.is_empty() {
            self.turns.push_back(Arc::clone(name));
        }
        service.ready.insert(self.number, key);
        self.number
    }

    /// Takes a push out that waits.
    pub(super) fn unqueue(&mut self, name: &Arc<str>, number: u64) {
        let Some(service) = self.by_name.get_mut(name) else { return };
        service.ready.remove(&number);
        if service.ready.is_empty() {
            self.turns.retain(|turn| turn != name);
        }
    }

    /// The push whose turn it is, where there is room for an attempt.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, Key)> {
        if self.active >= MAX_ACTIVE {
            return None;
        }
        for _ in 0..self.turns.len() {
            let name = self.turns.pop_front()?;
            let Some(service) = self.by_name.get_mut(&name) else { continue };
            if !service.has_room() {
                self.turns.push_back(name);
                continue;
            }
            let Some((_, key)) = service.ready.pop_first() else { continue };
            if !service.ready.is_empty() {
                self.turns.push_back(Arc::clone(&name));
            }
            return Some((name, key));
        }
        None
    }

    /// An attempt begins.
    pub(super) fn begin(&mut self, name: &Arc<str>) {
        self.active += 1;
        if let Some(service) = self.by_name.get_mut(name) {
            service.active += 1;
        }
    }

    /// An attempt has ended.
    pub(super) fn end(&mut self, name: &Arc<str>, failed: bool) {
        self.active = self.active.saturating_sub(1);
        if let Some(service) = self.by_name.get_mut(name) {
            service.active = service.active.saturating_sub(1);
            service.failures = if failed { service.failures.saturating_add(1) } else { 0 };
        }
    }

    /// Attempts under way, and services that are known.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.active, self.by_name.len())
    }
}
