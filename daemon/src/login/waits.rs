//! How many logins may wait where there is nobody to ask: unknown people and people without a
//! device look like everybody else, but they must not fill the host with waits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Most such waits a source.
pub(super) const MOST_A_SOURCE: u32 = 4;
/// Most such waits a host.
pub(super) const MOST: u32 = 32;

/// The waits that nobody can answer.
#[derive(Default, Clone)]
pub(super) struct Waits(Rc<RefCell<HashMap<String, u32>>>);

/// One of them; ends when dropped.
pub(super) struct Wait {
    waits: Waits,
    source: String,
}

impl Waits {
    /// Takes a place, if there is one. `source` is the address, or the uid of a local caller.
    #[must_use]
    pub(super) fn enter(&self, source: &str) -> Option<Wait> {
        let mut waits = self.0.borrow_mut();
        let all: u32 = waits.values().sum();
        let here = waits.get(source).copied().unwrap_or(0);
        if all >= MOST || here >= MOST_A_SOURCE {
            return None;
        }
        waits.insert(source.to_owned(), here + 1);
        Some(Wait { waits: self.clone(), source: source.to_owned() })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waits = self.waits.0.borrow_mut();
        if let Some(count) = waits.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                waits.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let waits = Waits::default();
        let mut held: Vec<Wait> = (0..MOST_A_SOURCE).filter_map(|_| waits.enter("192.0.2.1")).collect();
        assert_eq!(held.len(), MOST_A_SOURCE as usize);
        assert!(waits.enter("192.0.2.1").is_none());
        held.extend((0..MOST).filter_map(|n| waits.enter(&format!("uid {n}"))));
        assert_eq!(held.len(), MOST as usize);
        assert!(waits.enter("192.0.2.99").is_none());
        held.clear();
        assert!(waits.enter("192.0.2.1").is_some());
    }
}
