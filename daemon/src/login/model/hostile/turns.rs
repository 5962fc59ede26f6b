//! How many daemons are attacked at once.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Daemons, and how many of them are attacked at once where the machine has little else to do.
pub(super) const AT_ONCE: u32 = 80;
/// The same on the busiest machine.
const AT_ONCE_AT_LEAST: u32 = 4;
/// How much later than it is due something may be done without anybody having to wait for their turn.
const PUNCTUAL: Duration = Duration::from_millis(20);
/// How often that is looked at, and how often whoever waits for their turn asks for it.
const LOOK: Duration = Duration::from_millis(10);
const ASK: Duration = Duration::from_millis(100);

/// Whose turn it is. All daemons and servers share one thread, and what they give one another in real time has to be done on
/// it: where that comes late, because the machine has much else to do, fewer of them are attacked at once.
#[derive(Default)]
pub(super) struct Turns {
    taken: Cell<u32>,
    late: Cell<Duration>,
}

/// Ends when it is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Looks how late the thread comes to what is due.
    pub(super) async fn look(&self) {
        loop {
            let began = Instant::now();
            sleep(LOOK).await;
            let late = began.elapsed().saturating_sub(LOOK);
            // What was late stays so for a moment: a turn is long.
            self.late.set(late.max(self.late.get() * 31 / 32));
        }
    }

    fn at_once(&self) -> u32 {
        let late = self.late.get().max(PUNCTUAL).as_micros();
        let share = u128::from(AT_ONCE) * PUNCTUAL.as_micros() / late;
        u32::try_from(share).unwrap_or(AT_ONCE).max(AT_ONCE_AT_LEAST)
    }

    pub(super) async fn take(&self) -> Turn<'_> {
        while self.taken.get() >= self.at_once() {
            sleep(ASK).await;
        }
        self.taken.set(self.taken.get() + 1);
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get() - 1);
    }
}

#[test]
fn a_busy_machine_has_fewer_at_once_and_never_none() {
    let turns = Turns::default();
    for (late, at_once) in [(0, 80), (20, 80), (40, 40), (200, 8), (10_000, 4)] {
        turns.late.set(Duration::from_millis(late));
        assert_eq!(turns.at_once(), at_once, "{late} ms");
    }
}
