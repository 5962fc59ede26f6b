//! Keeps the event stream open, and hands on what comes.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::message::MessageType;
use countersign_protocol::{random, seal};
use countersign_relay_client::{Event, RelayError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::line::Line;
use super::rival::{self, Rival};
use super::{Link, Trouble};
use crate::app::App;
use crate::log::Level;
use crate::{clock, removal};

/// First pause after a failed connection.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause while nobody waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause while somebody waits.
const LONGEST_PAUSE_WAITING: Duration = Duration::from_secs(1);
/// A stream that ends sooner has not shown that the server is well.
const STEADY: Duration = Duration::from_secs(10);
/// Longest pause after such a one: the server is there, and the next login should find it.
const LONGEST_PAUSE_SHAKY: Duration = Duration::from_secs(2);
/// While a login waits, a stream that brings nothing for this long is dead: comments come every second.
const STALLED: Duration = Duration::from_secs(10);

/// Keeps the stream open for as long as the daemon runs.
pub async fn run(app: Rc<App>) {
    let mut pause = FIRST_PAUSE;
    let mut rival = Rival::default();
    loop {
        forget(&app.relay.broken).await;
        let Some(line) = app.relay.line() else {
            app.relay.wanted.notified().await;
            continue;
        };
        let began = clock::boot();
        let (was_up, why) = match listen(&app, &line, rival.is_about()).await {
            (was_up, End::Other(why)) => (was_up, why),
            (_, End::Replaced) => {
                let now = clock::boot();
                *app.relay.link.borrow_mut() = Link::Down(Trouble::of(rival::WHY));
                app.logins.link_lost();
                if rival.is_to_be_said(now) {
                    app.log
                        .warning(&rival::advice(&app.host.public.fingerprint(), &app.paths.own("host_key")));
                }
                let leave = rival.took(now.saturating_sub(began));
                until_wanted(&app, rival::LEAST, leave).await;
                continue;
            }
        };
        *app.relay.link.borrow_mut() = Link::Down(why.clone());
        app.logins.link_lost();
        if was_up {
            let is_steady = clock::boot().saturating_sub(began) >= STEADY;
            pause = if is_steady { FIRST_PAUSE } else { pause.min(LONGEST_PAUSE_SHAKY) };
            app.log.server(Level::Warning, &format!("the server is gone: {}", why.full));
        } else if pause == FIRST_PAUSE {
            app.log.server(Level::Warning, &format!("the server cannot be reached: {}", why.full));
        }
        let waiting = app.logins.waiting() > 0;
        pause = pause.min(if waiting { LONGEST_PAUSE_WAITING } else { LONGEST_PAUSE });
        // At least the first pause, so that many logins cannot hammer a server that is down.
        until_wanted(&app, FIRST_PAUSE, pause).await;
        pause = pause.saturating_mul(2);
    }
}

/// Waits for about as long as `pause`, or from `least` on until somebody wants the server.
async fn until_wanted(app: &App, least: Duration, pause: Duration) {
    sleep(jittered(least)).await;
    tokio::select! {
        () = sleep(jittered(pause).saturating_sub(least)) => {}
        () = app.relay.wanted.notified() => {}
    }
}

/// Why a stream ended.
enum End {
    /// Another machine with this key has opened it.
    Replaced,
    /// Another reason.
    Other(Trouble),
}

/// Opens the stream and reads it to its end: whether it was open, and why it ended. While machines take it
/// from each other its opening is not worth a line.
async fn listen(app: &Rc<App>, line: &Line, quietly: bool) -> (bool, End) {
    let mut events = match line.events().await {
        Ok(events) => events,
        Err(error) => return (false, End::Other(Trouble::from(&error))),
    };
    let mut was_up = false;
    let since = Cell::new(Instant::now());
    let stalled = stalled(app, &since);
    tokio::pin!(stalled);
    loop {
        let shows_life = events.shows_life();
        let event: Result<Event, RelayError> = tokio::select! {
            event = events.next() => event,
            () = app.relay.broken.notified() => return (was_up, End::Other(app.relay.trouble())),
            () = &mut stalled, if shows_life => {
                line.forget_connection();
                let why = format!("nothing has come for {} s, though a login waits", STALLED.as_secs());
                return (was_up, End::Other(Trouble::of(why)));
            }
        };
        since.set(Instant::now());
        app.relay.heard.notify_one();
        match event {
            Ok(Event::Hello(hello)) => {
                if !was_up && !quietly {
                    app.log.server(Level::Notice, &format!("connected to server version {}", hello.server));
                }
                was_up = true;
                *app.relay.link.borrow_mut() = Link::Up;
                app.logins.link_back();
                app.relay.say_again();
            }
            Ok(Event::Decision(sealed)) => match seal::peek(&sealed) {
                Ok(envelope) if envelope.message_type == MessageType::Removal => {
                    removal::receive(app, &envelope, &sealed).await;
                }
                _ => app.logins.decision(app, &sealed).await,
            },
            Ok(Event::Message(_) | Event::KeepAlive) => {}
            Err(RelayError::Replaced { .. }) => return (was_up, End::Replaced),
            Err(error) => return (was_up, End::Other(Trouble::from(&error))),
        }
    }
}

/// Waits until nothing has come for too long while the server held a request. Sleeps for as long as no login waits.
async fn stalled(app: &App, since: &Cell<Instant>) {
    loop {
        if app.logins.waiting() == 0 {
            app.logins.began().await;
            since.set(Instant::now());
        }
        sleep_until(since.get() + STALLED).await;
        if since.get().elapsed() >= STALLED {
            if app.logins.any_posted() {
                return;
            }
            // Of logins that ask nobody the server knows nothing.
            since.set(Instant::now());
        }
    }
}

/// Takes back a notice that nobody has waited for: it was about a stream that has ended since.
async fn forget(notice: &Notify) {
    tokio::select! {
        biased;
        () = notice.notified() => {}
        () = std::future::ready(()) => {}
    }
}

/// Between half of it and all of it, so that a fleet does not come back in one moment.
fn jittered(pause: Duration) -> Duration {
    let part = u32::from(random::bytes::<1>()[0]);
    pause / 2 + pause / 512 * part
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::state;
    use crate::testing::{Lab, TestDevice};
    use countersign_protocol::message::Confirm;
    use tokio::time::{interval, timeout};

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_still_while_the_server_holds_a_request_is_dead() {
        let lab = Lab::new();
        lab.pair("alice", &TestDevice::new()).await;
        let since = Cell::new(Instant::now());
        let stalled_within = async |time| timeout(time, stalled(&lab.app, &since)).await.is_ok();
        assert!(!stalled_within(Duration::from_secs(3600)).await, "nobody waits");

        let long = Duration::from_secs(600);
        lab.app.logins.keep(&lab.request("nobody", Confirm::Tap, long));
        assert!(!stalled_within(Duration::from_secs(60)).await, "the server was asked nothing");
        let request = lab.request("alice", Confirm::Tap, long);
        lab.app.logins.keep(&request);
        assert!(!stalled_within(Duration::from_secs(60)).await, "the server does not hold it yet");

        request.happens(state::Event::Acknowledged);
        let mut comments = interval(Duration::from_secs(1));
        let comments = async {
            loop {
                comments.tick().await;
                since.set(Instant::now());
            }
        };
        tokio::select! {
            never = comments => never,
            stalled = stalled_within(Duration::from_secs(60)) => assert!(!stalled, "comments come"),
        }
        assert!(stalled_within(STALLED + Duration::from_secs(1)).await);
    }
}
