//! Choices, and counts of what came of them.

use std::collections::BTreeMap;

/// Small, and the same for a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        let given = std::env::var("COUNTERSIGN_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from_be_bytes(countersign_protocol::random::bytes()));
        eprintln!("COUNTERSIGN_SEED={seed}");
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

pub(crate) fn cases() -> usize {
    std::env::var("COUNTERSIGN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(250)
}

/// Counts by verdict, so that a generator which makes only garbage is noticed.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<String, usize>);

impl Tally {
    pub(crate) fn note(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn show(&self) {
        eprintln!("{:?}", self.0);
    }

    pub(crate) fn at_least(&self, what: &str, share: usize, of: usize) {
        let found = self.0.get(what).copied().unwrap_or(0);
        assert!(found * 100 >= share * of, "only {found} of {of} are {what}: {:?}", self.0);
    }
}
