//! Keeps the event stream open, and hands on what comes.

use std::rc::Rc;
use std::time::Duration;

use countersign_protocol::message::MessageType;
use countersign_protocol::{random, seal};
use countersign_relay_client::{Event, RelayError};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Link;
use super::line::Line;
use crate::app::App;
use crate::removal;

/// First pause after a failed connection.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause while nobody waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause while somebody waits.
const LONGEST_PAUSE_WAITING: Duration = Duration::from_secs(1);

/// Keeps the stream open for as long as the daemon runs.
pub async fn run(app: Rc<App>) {
    let mut pause = FIRST_PAUSE;
    loop {
        forget(&app.relay.broken).await;
        let Some(line) = app.relay.line() else {
            app.relay.wanted.notified().await;
            continue;
        };
        let (was_up, why) = listen(&app, &line).await;
        *app.relay.link.borrow_mut() = Link::Down(why.clone());
        app.logins.link_lost();
        if was_up {
            pause = FIRST_PAUSE;
            app.log.warning(&format!("the server is gone: {why}"));
        } else if pause == FIRST_PAUSE {
            app.log.warning(&format!("the server cannot be reached: {why}"));
        }
        let waiting = app.logins.waiting() > 0;
        pause = pause.min(if waiting { LONGEST_PAUSE_WAITING } else { LONGEST_PAUSE });
        // At least the first pause, so that many logins cannot hammer a server that is down.
        sleep(jittered(FIRST_PAUSE)).await;
        tokio::select! {
            () = sleep(jittered(pause).saturating_sub(FIRST_PAUSE)) => {}
            () = app.relay.wanted.notified() => {}
        }
        pause = pause.saturating_mul(2);
    }
}

/// Opens the stream and reads it to its end: whether it was open, and why it ended.
async fn listen(app: &Rc<App>, line: &Line) -> (bool, String) {
    let mut events = match line.events().await {
        Ok(events) => events,
        Err(error) => return (false, error.to_string()),
    };
    let mut was_up = false;
    loop {
        let event: Result<Event, RelayError> = tokio::select! {
            event = events.next() => event,
            () = app.relay.broken.notified() => return (was_up, app.relay.trouble()),
        };
        match event {
            Ok(Event::Hello(hello)) => {
                if !was_up {
                    app.log.notice(&format!("connected to server version {}", hello.server));
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
            Err(error) => return (was_up, error.to_string()),
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
