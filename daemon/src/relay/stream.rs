//! Keeps the event stream open, and hands on what comes.

use std::cell::Cell;
use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::message::MessageType;
use countersign_protocol::{random, seal};
use countersign_relay_client::{Event, RelayError};
use tokio::sync::Notify;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::line::{Incoming, Line};
use super::rival::{self, Rival};
use super::{Link, Relay, Trouble};
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
/// Longest time for which a server that asks for it is left alone: less than a login waits, so that a wrong word of its
/// costs nobody the whole of that.
const LONGEST_LEAVE: Duration = Duration::from_secs(10);
/// While a login waits, there is doubt about a stream that brings nothing for this long: comments come every second, so
/// that one has been missed, and another is late.
const STALLED: Duration = Duration::from_secs(2);
/// How long another connection may take to show that the server is there, before the server counts as gone.
const PROOF: Duration = Duration::from_secs(1);
/// How long it may take while the stream that there is still brings something.
const PROOF_AT_EASE: Duration = Duration::from_millis(2500);

/// Keeps the stream open for as long as the daemon runs.
pub async fn run(app: Rc<App>) {
    let mut pause = FIRST_PAUSE;
    let mut rival = Rival::default();
    let mut doubtful = false;
    loop {
        forget(&app.relay.broken).await;
        let Some(line) = app.relay.line() else {
            app.relay.wanted.notified().await;
            continue;
        };
        let began = clock::boot();
        let (was_up, end) = listen(&app, &line, rival.is_about(), doubtful).await;
        // Whatever was wrong may be of this connection only: behind one name there may be many servers.
        line.forget_connection();
        let is_steady = was_up && clock::boot().saturating_sub(began) >= STEADY;
        let why = match end {
            End::Broken(why) if is_steady && app.relay.is_up() => {
                app.log.server(Level::Notice, &format!("the connection to the server broke: {}", why.full));
                app.relay.set_link(Link::Doubtful(why));
                (pause, doubtful) = (FIRST_PAUSE, true);
                sleep(jittered(FIRST_PAUSE)).await;
                continue;
            }
            End::Broken(why) | End::Gone(why) => why,
            End::Replaced => {
                let now = clock::boot();
                app.relay.set_link(Link::Down(Trouble::of(rival::WHY)));
                app.logins.link_lost();
                app.events.state();
                if rival.is_to_be_said(now) {
                    app.log
                        .warning(&rival::advice(&app.host.public.fingerprint(), &app.paths.own("host_key")));
                }
                let leave = rival.took(now.saturating_sub(began));
                doubtful = false;
                until_wanted(&app, rival::LEAST, leave).await;
                continue;
            }
        };
        app.relay.gone(&app, &why);
        if was_up || std::mem::take(&mut doubtful) {
            pause = if is_steady { FIRST_PAUSE } else { pause.min(LONGEST_PAUSE_SHAKY) };
            app.log.server(Level::Warning, &format!("the server is gone: {}", why.full));
        } else if pause == FIRST_PAUSE {
            app.log.server(Level::Warning, &format!("the server cannot be reached: {}", why.full));
        }
        let waiting = app.logins.waiting() > 0;
        pause = pause.min(if waiting { LONGEST_PAUSE_WAITING } else { LONGEST_PAUSE });
        // A server that has too much to do says for how long.
        sleep(why.leave.min(LONGEST_LEAVE)).await;
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
    /// It could not be opened, or broke.
    Broken(Trouble),
    /// It brought nothing, and neither did another connection.
    Gone(Trouble),
}

/// Opens the stream; one after another that had stood has only so long until the server counts as gone.
async fn open(app: &App, line: &Line, doubtful: bool) -> Result<Incoming, RelayError> {
    let opening = line.events();
    tokio::pin!(opening);
    if doubtful {
        match timeout(PROOF, &mut opening).await {
            Ok(opened) => return opened,
            Err(_) => app.relay.gone(app, &app.relay.trouble()),
        }
    }
    opening.await
}

/// Opens the stream and reads it to its end: whether it was open, and why it ended. While machines take it
/// from each other its opening is not worth a line.
async fn listen(app: &Rc<App>, line: &Line, quietly: bool, doubtful: bool) -> (bool, End) {
    let mut events = match open(app, line, doubtful).await {
        Ok(events) => Some(events),
        Err(error) => return (false, End::Broken(Trouble::from(&error))),
    };
    let mut was_up = false;
    let since = Cell::new(Instant::now());
    let stalled = stalled(app, &since);
    tokio::pin!(stalled);
    // Opened beside a stream that there is doubt about, and when there is no more hope for both.
    let mut another: Option<Opening<'_>> = None;
    let mut hopeless = None;
    app.relay.stream_on.set(line.connection());
    loop {
        let shows_life = events.as_ref().is_some_and(Incoming::shows_life);
        let event: Result<Event, RelayError> = tokio::select! {
            event = next(&mut events) => event,
            () = app.relay.broken.notified() => return (was_up, End::Broken(app.relay.trouble())),
            () = &mut stalled, if shows_life && another.is_none() => {
                line.forget_connection();
                another = Some(Box::pin(timeout(PROOF_AT_EASE, line.events())));
                hopeless = Some(Instant::now() + PROOF);
                continue;
            }
            opened = proof(&mut another) => {
                another = None;
                match opened {
                    Ok(Ok(opened)) => {
                        app.log.server(Level::Notice, REPLACED);
                        events = Some(opened);
                        hopeless = None;
                        app.relay.stream_on.set(line.connection());
                    }
                    // The one that there is brings something again.
                    _ if hopeless.is_none() && events.is_some() => {}
                    Ok(Err(error)) => return (was_up, End::Gone(Trouble::from(&error))),
                    Err(_) => return (was_up, End::Gone(Trouble::of(SILENT))),
                }
                since.set(Instant::now());
                stalled.set(self::stalled(app, &since));
                continue;
            }
            () = at(hopeless) => return (was_up, End::Gone(Trouble::of(SILENT))),
        };
        since.set(Instant::now());
        app.relay.heard.notify_one();
        hopeless = None;
        match event {
            Ok(Event::Hello(hello)) => {
                if !was_up && !quietly {
                    app.log.server(Level::Notice, &format!("connected to server version {}", hello.server));
                }
                was_up = true;
                app.relay.set_link(Link::Up);
                app.logins.link_back();
                app.events.state();
                app.relay.say_again();
            }
            Ok(Event::Decision(sealed)) => match seal::peek(&sealed) {
                Ok(envelope) if envelope.message_type == MessageType::Removal => {
                    removal::receive(app, &envelope, &sealed).await;
                }
                _ => app.logins.decision(app, &sealed).await,
            },
            Ok(Event::Message(_) | Event::KeepAlive) => {}
            // By the other one of ours; or it broke at last.
            Err(_) if another.is_some() => {
                events = None;
                hopeless = Some(Instant::now() + PROOF);
            }
            Err(RelayError::Replaced { .. }) => return (was_up, End::Replaced),
            Err(error) => return (was_up, End::Broken(Trouble::from(&error))),
        }
    }
}

/// What is said when another stream has taken the place of one that brought nothing.
const REPLACED: &str = "the connection to the server brought nothing for 2 s; another one is in its place";

/// Why the server is gone when nothing is heard of it.
const SILENT: &str = "nothing has come for 3 s, though a login waits";

/// A stream that is being opened.
type Opening<'a> = Pin<Box<dyn Future<Output = Result<Result<Incoming, RelayError>, Elapsed>> + 'a>>;

/// The next event of a stream that there is.
async fn next(events: &mut Option<Incoming>) -> Result<Event, RelayError> {
    match events {
        Some(events) => events.next().await,
        None => pending().await,
    }
}

/// What comes of opening another one.
async fn proof(another: &mut Option<Opening<'_>>) -> Result<Result<Incoming, RelayError>, Elapsed> {
    match another {
        Some(opening) => opening.await,
        None => pending().await,
    }
}

/// That time, if there is one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

impl Relay {
    /// The server counts as gone.
    fn gone(&self, app: &App, why: &Trouble) {
        self.set_link(Link::Down(why.clone()));
        app.logins.link_lost();
        app.events.state();
    }
}

/// Waits until nothing has come for too long while the server held a request. Sleeps for as long as no login waits.
async fn stalled(app: &App, since: &Cell<Instant>) {
    loop {
        if app.logins.waiting() == 0 {
            app.logins.began().await;
            since.set(Instant::now());
        }
        let heard = || since.get().max(app.relay.answered.get().unwrap_or(since.get()));
        sleep_until(heard() + STALLED).await;
        if heard().elapsed() >= STALLED {
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
    use tokio::time::interval;

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
