//! How many logins may wait where there is nobody to ask: unknown people and people without a
//! device look like everybody else, but they must not fill the host with waits. Whoever has codes to type in place
//! of a device does not share their room with invented names.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::place;

/// Most such waits a source.
pub(super) const MOST_A_SOURCE: u32 = 4;
/// Most such waits a host, of each [`Whose`].
pub(super) const MOST: u32 = 32;

/// Whose login waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    /// A person's who has something to type.
    Holders,
    /// Anybody else's; the name may be invented.
    Others,
}

/// The waits that nobody can answer.
#[derive(Default, Clone)]
pub(super) struct Waits(Rc<RefCell<HashMap<(String, Whose), u32>>>);

/// One of them; ends when dropped.
pub(super) struct Wait {
    waits: Waits,
    of: (String, Whose),
}

impl Waits {
    /// Takes a place, if there is one. `source` is the address, or the uid of a local caller; all addresses of one
    /// customer are one. What one source may is the same for all names, so that it cannot tell them apart by it.
    #[must_use]
    pub(super) fn enter(&self, source: &str, whose: Whose) -> Option<Wait> {
        let source = place::source(source);
        let mut waits = self.0.borrow_mut();
        let all: u32 = waits.iter().filter(|((_, its), _)| *its == whose).map(|(_, count)| count).sum();
        let here: u32 = waits.iter().filter(|((its, _), _)| *its == source).map(|(_, count)| count).sum();
        if all >= MOST || here >= MOST_A_SOURCE {
            return None;
        }
        let of = (source, whose);
        *waits.entry(of.clone()).or_default() += 1;
        Some(Wait { waits: self.clone(), of })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waits = self.waits.0.borrow_mut();
        if let Some(count) = waits.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                waits.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: Whose = Whose::Others;

    #[test]
    fn places_are_bounded_and_given_back() {
        let waits = Waits::default();
        let mut held: Vec<Wait> =
            (0..MOST_A_SOURCE).filter_map(|_| waits.enter("192.0.2.1", OTHERS)).collect();
        assert_eq!(held.len(), MOST_A_SOURCE as usize);
        assert!(waits.enter("192.0.2.1", OTHERS).is_none());
        held.extend((0..MOST).filter_map(|n| waits.enter(&format!("uid {n}"), OTHERS)));
        assert_eq!(held.len(), MOST as usize);
        assert!(waits.enter("192.0.2.99", OTHERS).is_none());
        held.clear();
        assert!(waits.enter("192.0.2.1", OTHERS).is_some());
        assert!(waits.0.borrow().is_empty());
    }

    #[test]
    fn one_network_is_one_source_whatever_names_it_tries() {
        let waits = Waits::default();
        let whose = |number: u32| if number.is_multiple_of(2) { OTHERS } else { Whose::Holders };
        let from = |number: u32| waits.enter(&format!("2001:db8:1:2::{number}"), whose(number));
        let held: Vec<Wait> = (0..50).filter_map(from).collect();
        assert_eq!(held.len(), MOST_A_SOURCE as usize);
        assert!(waits.enter("2001:db8:1:3::1", OTHERS).is_some());
    }

    #[test]
    fn invented_names_take_no_room_from_whoever_has_codes_to_type() {
        let waits = Waits::default();
        let many = |whose| -> Vec<Wait> {
            (0..100).filter_map(|number| waits.enter(&format!("192.0.2.{number}"), whose)).collect()
        };
        let others = many(OTHERS);
        assert_eq!(others.len(), MOST as usize);
        assert_eq!(many(Whose::Holders).len(), MOST as usize);
    }
}
