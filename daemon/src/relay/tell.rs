//! Says in the background what phones have to hear: ends of requests, notices, and after a reconnect all
//! that the server may have forgotten.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::sleep;

use super::Relay;
use crate::app::App;
use crate::clock;
use crate::log::Level;

/// Longest pause that the server may ask for between two messages.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Pause before a list is brought again.
const LIST_PAUSE: Duration = Duration::from_secs(5);

/// Pause after a message that the server did not want yet, so that many of them do not hammer it.
const BETWEEN_REFUSALS: Duration = Duration::from_millis(50);

/// Posts what is due, one after the other. What fails because the server is gone is said again after
/// a reconnect, what it takes later is tried again later, and what it refuses a few times more.
pub async fn tell(app: Rc<App>) {
    loop {
        app.relay.due_now.notified().await;
        app.relay.telling.set(true);
        let mut slowed = false;
        while let Some(id) = app.relay.next_due() {
            // So that no phone asks for a list that is not there yet; and nobody else's message waits for a list.
            if app.relay.has_unsaid_list(&id) {
                bring_first(&app, id);
                continue;
            }
            match app.relay.send(&id).await {
                Ok(true) => {}
                Ok(false) => app.logins.acknowledged(&id),
                Err(unposted) => match unposted.pause {
                    Some(pause) => {
                        if !std::mem::replace(&mut slowed, true) {
                            let text = format!("phones hear of requests later: {}", unposted.why.full);
                            app.log.server(Level::Warning, &text);
                        }
                        // What one phone has no room for must not hold up the others.
                        say_after(&app, id, pause.min(LONGEST_PAUSE));
                        sleep(BETWEEN_REFUSALS).await;
                    }
                    None if app.relay.is_up() => {
                        let pause = app.relay.outbox.borrow_mut().refused(&id);
                        let then = match pause {
                            Some(pause) => format!("again in {} s", pause.as_secs()),
                            None => "again after the next connection".to_owned(),
                        };
                        let text = format!("message {id} cannot be posted, {then}: {}", unposted.why.full);
                        app.log.server(Level::Warning, &text);
                        if let Some(pause) = pause {
                            say_after(&app, id, pause);
                        }
                    }
                    None => {}
                },
            }
        }
        app.relay.telling.set(false);
        app.relay.told.notify_waiters();
    }
}

/// Has a request posted once its list is there, unless it is over by then.
fn bring_first(app: &Rc<App>, id: String) {
    // However often it becomes due meanwhile, as when the connection comes and goes.
    if !app.relay.lists.borrow_mut().is_under_way(&id, true) {
        return;
    }
    let app = Rc::clone(app);
    spawn_local(async move {
        let brought = app.relay.bring_list(&id).await;
        if let Err(why) = &brought
            && app.relay.is_up()
        {
            let text = format!("the list of request {id} is not at the server: {}", why.full);
            app.log.server(Level::Warning, &text);
            sleep(why.leave.clamp(LIST_PAUSE, LONGEST_PAUSE)).await;
        }
        app.relay.lists.borrow_mut().is_under_way(&id, false);
        // Without a connection all is due again when it is back.
        if app.relay.is_up() && app.relay.outbox.borrow().is_open(&id) {
            app.relay.say(&id);
        }
    });
}

/// Has a message posted after a pause, unless the server has it by then.
fn say_after(app: &Rc<App>, id: String, pause: Duration) {
    let app = Rc::clone(app);
    spawn_local(async move {
        sleep(pause).await;
        if app.relay.outbox.borrow().is_unsaid(&id, clock::boot()) {
            app.relay.say(&id);
        }
    });
}

impl Relay {
    /// Has everything posted that the server may have forgotten.
    pub(super) fn say_again(&self) {
        self.lists.borrow_mut().doubt();
        // What was due before is part of it.
        *self.due.borrow_mut() = self.outbox.borrow_mut().due(clock::boot()).into();
        self.due_now.notify_one();
    }

    /// The next one to post; none while the server is gone, since all is due again when it is back.
    pub(super) fn next_due(&self) -> Option<String> {
        let mut due = self.due.borrow_mut();
        if !self.is_up() {
            due.clear();
        }
        due.pop_front()
    }
}
