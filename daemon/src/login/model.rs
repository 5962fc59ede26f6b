//! The login as an executable model: stories that nobody has thought of are played on the daemon as it is, and
//! what comes of each is held against an [`oracle`] that was written from the protocol alone.
//!
//! A story is a list of [`Move`]s: people log in, type and hang up; devices of all kinds decide, rightly and
//! wrongly; the server between them loses, repeats, delays and reorders; the daemon is killed; the machine
//! sleeps. Time is the runtime's and stands still unless everybody waits, so a story of minutes takes a
//! few milliseconds. `COUNTERSIGN_CASES` says how many are played.

mod acts;
mod bars;
mod cast;
mod cuts;
mod ends;

mod forgery;
mod found;
mod hostile;

mod judge;
mod leases;
mod moves;
mod oracle;
mod peer;
mod policies;
mod policy;
mod scenes;
mod seen;
mod shown;
mod themes;
mod totp;
mod typed;
mod visit;
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use proptest::test_runner::{Config as Runs, TestCaseError, TestRunner};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use moves::Story;
use seen::Seen;
pub(crate) use seen::{begins, takes};
use world::World;

use crate::testing::Said;

/// Stories where nobody asks for more: some fifteen seconds.
const CASES: u32 = 600;
/// From so many stories on each end has to have been seen.
const ENOUGH: u32 = 2_000;

/// How many cases to try, as `COUNTERSIGN_CASES` says.
pub(crate) fn cases(usual: u32) -> u32 {
    match std::env::var("COUNTERSIGN_CASES") {
        Ok(number) => number.parse().expect("COUNTERSIGN_CASES is a number"),
        Err(_) => usual,
    }
}

/// Whatever happens: nobody is let in without a fresh decision about this very request by a device that may
/// decide, or a factor that the policy allows; nothing counts twice; everything ends in time; nothing that was
/// withdrawn succeeds or rings again; nothing is open after a start; and every device is told of each end.
#[test]
fn no_story_lets_anybody_in_who_may_not() {
    let (cases, began) = (cases(CASES), Instant::now());
    let (stage, total) = (Stage::new(), RefCell::new(Seen::default()));
    let play = |cases| {
        let runs = Runs { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Runs::default() };
        let played = TestRunner::new(runs).run(&scenes::stories(), |story| {
            let seen = stage.play(&story).map_err(TestCaseError::fail)?;
            total.borrow_mut().add(seen);
            Ok(())
        });
        if let Err(failure) = played {
            panic!("{failure}");
        }
    };
    play(cases);
    // What is rare may have been missed by chance, but hardly each time.
    for _ in 0..4 {
        if cases >= CASES && !total.borrow().missing_usually().is_empty() {
            play(cases);
        }
    }
    let seen = total.take();
    eprintln!("{cases} stories in {:.1?}: {seen:?}", began.elapsed());
    if cases >= CASES {
        assert!(seen.missing_usually().is_empty(), "never seen: {:?}", seen.missing_usually());
    }
    if cases >= ENOUGH {
        assert!(seen.missing().is_empty(), "never seen: {:?}", seen.missing());
        assert_eq!(seen::untaken(), seen::UNREACHED, "lines of the table that no request went by");
    }
}

/// Where stories are played: on one thread, whose time passes only when everybody waits.
struct Stage(Runtime);

impl Stage {
    fn new() -> Self {
        Self(Builder::new_current_thread().enable_all().start_paused(true).build().unwrap())
    }

    /// Plays a story to its end, and adds up what it came to.
    fn play(&self, story: &Story) -> Result<Seen, String> {
        self.act(story, async |mut world| {
            world.finish().await;
            world.seen
        })
    }

    /// Plays a story; what is wrong with what came of it, and what the daemon said.
    fn act<T>(&self, story: &Story, end: impl AsyncFnOnce(World) -> T) -> Result<T, String> {
        let said = RefCell::new(Said::default());
        let play = async {
            let mut world = World::new(story.policy.clone(), &said).await;
            for one in &story.moves {
                world.make(one).await;
            }
            end(world).await
        };
        catch_unwind(AssertUnwindSafe(|| LocalSet::new().block_on(&self.0, play))).map_err(|panic| {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
            format!("{}\nthe daemon said:\n  {}", why.unwrap_or_default(), said.take().take().join("\n  "))
        })
    }
}
