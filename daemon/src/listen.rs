//! Takes connections, and hands each to whom its first frame names.

use crate::app::App;
use crate::caller::Caller;
use crate::connection::{Connection, FRAME_TIME};
use crate::farewell::{LONGEST, Mark, Stage, Waiting};
use crate::places::{Place, Places};
use crate::sockets::Sockets;
use crate::{clock, login, manage, service_manager};
use countersign_protocol::{frame, login as login_calls, manage as manage_calls};
use nix::sys::resource::{Resource, getrlimit};
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The error that a connection over a limit ends in.
pub const BUSY: &str = "org.countersign.Busy";
const TOO_MANY: &str = "too many at once; end another one or try again";
/// The error that a call ends in that nobody knows.
pub const UNKNOWN: &str = "org.countersign.UnknownMethod";
/// How long logins have to hear their verdict, and phones of the end, when the daemon ends.
const END_TIME: Duration = Duration::from_secs(1);
/// How long the next one is waited with after a connection could not be taken.
const PAUSE: Duration = Duration::from_millis(100);
/// How long it is not said again that one could not.
const SAID_FOR: Duration = Duration::from_secs(60);

/// How often it is looked whether a newer daemon may take over when nothing else happens.
const LOOK: Duration = Duration::from_millis(500);

/// Serves until `stop` is done, or after `leave` until nobody waits for a verdict; then every waiting login is told.
/// Whoever connects meanwhile is served: with the sockets of a service manager nobody notices.
///
/// # Errors
/// When the sockets are of no use.
pub async fn serve(
    app: Rc<App>,
    sockets: Sockets,
    stop: impl Future<Output = ()>,
    leave: impl Future<Output = ()>,
) -> io::Result<()> {
    let root = UnixListener::from_std(sockets.root)?;
    let everybody = UnixListener::from_std(sockets.everybody)?;
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let places = Rc::new(Places::new(descriptors));
    let mut troubles = Troubles::default();
    let mut tasks = JoinSet::new();
    let waiting = Rc::new(Waiting::default());
    tokio::pin!(stop, leave);
    let mut leaves_by = None;
    loop {
        let stage = leaves_by.map(|last| waiting.stage(clock::boot(), last, app.logins.any_session_due()));
        if let Some(Stage::Over | Stage::Late) = stage {
            service_manager::stopping();
            app.log.notice(if stage == Some(Stage::Late) {
                "ending for a newer one: there was no moment without a login, those that wait are refused"
            } else {
                "ending for a newer one: no login waits"
            });
            break;
        }
        let takes = stage != Some(Stage::Closes);
        let (accepted, root_socket) = tokio::select! {
            () = &mut stop => break,
            () = &mut leave, if leaves_by.is_none() => {
                leaves_by = Some(clock::boot() + LONGEST);
                continue;
            }
            () = sleep(LOOK), if leaves_by.is_some() => continue,
            accepted = root.accept(), if takes => (accepted, true),
            accepted = everybody.accept(), if takes => (accepted, false),
            Some(ended) = tasks.join_next() => {
                tell_panic(&app, ended);
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                // Here, so that none is open beyond those that have a place.
                if let Some(welcome) = welcome(&app, &places, stream, root_socket).await {
                    tasks.spawn_local(serve_one(Rc::clone(&app), welcome, waiting.unheard()));
                }
            }
            Err(error) => {
                if let Some(more) = troubles.more(clock::boot()) {
                    app.log.error(&format!(
                        "a connection could not be taken: {error} ({more} more since the last such line)"
                    ));
                }
                // Out of descriptors, mostly: the next try would fail as fast.
                sleep(PAUSE).await;
            }
        }
    }
    drop((root, everybody));
    app.logins.shut_down();
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            tell_panic(&app, ended);
        }
        // Phones must not go on ringing for logins that are over.
        app.relay.all_told().await;
    };
    if timeout(END_TIME, all).await.is_err() {
        app.log.warning("some connections did not end in time and are cut");
    }
    Ok(())
}

fn tell_panic(app: &App, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        app.log.error(&format!("a connection ended in a fault of the daemon: {error}"));
    }
}

/// Connections that could not be taken.
#[derive(Default)]
struct Troubles {
    said: Option<Duration>,
    unsaid: u32,
}

impl Troubles {
    /// Counts one more; how many there were since it was said last, when it should be said again.
    fn more(&mut self, now: Duration) -> Option<u32> {
        if self.said.is_some_and(|said| now < said + SAID_FOR) {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// A connection that has a place.
struct Welcome {
    caller: Caller,
    connection: Connection,
    place: Place,
    places: Rc<Places>,
}

/// Gives a connection a place, or says why not. Does not wait: nothing was sent yet that could be in the way.
async fn welcome(app: &App, places: &Rc<Places>, stream: UnixStream, root_socket: bool) -> Option<Welcome> {
    let credentials = stream
        .peer_cred()
        .map_err(|error| app.log.warning(&format!("a peer without credentials: {error}")))
        .ok()?;
    let caller = Caller {
        uid: credentials.uid(),
        gid: credentials.gid(),
        pid: credentials.pid(),
        root_socket: root_socket && credentials.uid() == 0,
    };
    let mut connection = Connection::new(stream);
    // That a refused peer does not read its refusal is nothing to act on.
    if root_socket && !caller.root_socket {
        let text = format!("user {} has opened root's socket; check its mode", caller.uid);
        app.log.caller_warning(&caller, &text);
        let _ = connection.complain(manage_calls::error::NOT_PERMITTED, "this socket is for root").await;
        return None;
    }
    let Some(place) = places.enter(&caller) else {
        app.log.caller_warning(&caller, &format!("user {} has too many connections", caller.uid));
        let _ = connection.complain(BUSY, TOO_MANY).await;
        return None;
    };
    Some(Welcome { caller, connection, place, places: Rc::clone(places) })
}

async fn serve_one(app: Rc<App>, welcome: Welcome, mark: Mark) {
    let Welcome { caller, mut connection, mut place, places } = welcome;
    let known = if caller.root_socket { Some(true) } else { places.knows(caller.uid).await };
    let Some(is_known) = known else {
        let _ = connection.complain(BUSY, "the name service does not answer in time; try again").await;
        return;
    };
    let is_stranger = !is_known;
    if is_stranger && !place.share() {
        let text = format!(
            "user {}, who has no account, and others like that have too many connections",
            caller.uid
        );
        app.log.caller_warning(&caller, &text);
        let _ = connection.complain(BUSY, TOO_MANY).await;
        return;
    }
    // In a box, so that thousands who wait to be looked up hold no room for a login.
    if let Err(why) = Box::pin(first_call(&app, caller, is_stranger, connection, mark)).await {
        app.log.caller_warning(&caller, &format!("user {} sent no usable call: {why}", caller.uid));
    }
}

#[derive(serde::Deserialize)]
struct AnyCall {
    method: String,
}

async fn first_call(
    app: &Rc<App>,
    caller: Caller,
    is_stranger: bool,
    mut connection: Connection,
    mut mark: Mark,
) -> Result<(), String> {
    let frame = match timeout(FRAME_TIME, connection.recv_frame()).await {
        Ok(Ok(Some(frame))) => frame,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no call in time".into()),
    };
    let method = frame::decode::<AnyCall>(&frame).map(|call| call.method).unwrap_or_default();
    if method.starts_with("org.countersign.Login.") {
        if is_stranger {
            // It would only be refused and written down, again and again for each of many numbers.
            return refuse(&mut connection, login::BAD_CALL, "this host knows no user of your number").await;
        }
        match frame::decode(&frame) {
            Ok(login_calls::Call::Begin(begin)) => {
                mark.wanted();
                login::serve(Rc::clone(app), caller, connection, *begin).await;
                Ok(())
            }
            Ok(login_calls::Call::Continue(_)) => {
                refuse(&mut connection, login::BAD_CALL, "a login starts with Begin").await
            }
            Err(error) => refuse(&mut connection, login::BAD_CALL, &error.to_string()).await,
        }
    } else if method.starts_with("org.countersign.Manage.") {
        if caller.uid == 0 && !is_for_others(&frame) {
            mark.wanted();
        } else {
            // A newer daemon answers it as well.
            drop(mark);
        }
        // In a box of its own: it is larger than a login, and thousands of those may wait.
        Box::pin(manage::serve(app, caller, connection, &frame)).await.map_err(|error| error.to_string())
    } else {
        refuse(&mut connection, UNKNOWN, "there is org.countersign.Login and org.countersign.Manage").await
    }
}

/// Whether root's call is one of a program that waits for events, or passes on what a user asks.
fn is_for_others(frame: &[u8]) -> bool {
    use manage_calls::Call;
    matches!(frame::decode(frame), Ok(Call::Watch {} | Call::ActFor { .. }))
}

async fn refuse(connection: &mut Connection, error: &str, message: &str) -> Result<(), String> {
    let _ = connection.complain(error, message).await;
    Err(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_and_again_is_said_once_a_minute() {
        let (mut troubles, start) = (Troubles::default(), Duration::from_secs(1));
        let said: Vec<_> = (0..1_000).filter_map(|at| troubles.more(start + PAUSE * at)).collect();
        assert_eq!(said, [0, 599]);
    }
}
