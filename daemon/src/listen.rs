//! Takes connections, and hands each to whom its first frame names.

use crate::app::App;
use crate::caller::Caller;
use crate::connection::{Connection, FRAME_TIME};
use crate::sockets::Sockets;
use crate::{login, manage};
use countersign_protocol::{frame, login as login_calls, manage as manage_calls};
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections of one user on the socket for everybody.
pub const MAX_OF_A_USER: u32 = 4;
/// Connections of all.
pub const MAX_CONNECTIONS: u32 = 16_384;
/// Connections that only root may have: users of the other socket never fill the host.
const KEPT_FOR_ROOT: u32 = 4_096;
/// The error that a connection over a limit ends in.
pub const BUSY: &str = "org.countersign.Busy";
/// The error that a call ends in that nobody knows.
pub const UNKNOWN: &str = "org.countersign.UnknownMethod";
/// How long logins have to hear their verdict, and phones of the end, when the daemon ends.
const END_TIME: Duration = Duration::from_secs(1);

/// Serves until `stop` is done; then every waiting login is told.
///
/// # Errors
/// When the sockets are of no use.
pub async fn serve(app: Rc<App>, sockets: Sockets, stop: impl Future<Output = ()>) -> io::Result<()> {
    let root = UnixListener::from_std(sockets.root)?;
    let everybody = UnixListener::from_std(sockets.everybody)?;
    let places = Rc::new(Places::default());
    let mut tasks = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let (accepted, root_socket) = tokio::select! {
            () = &mut stop => break,
            accepted = root.accept() => (accepted, true),
            accepted = everybody.accept() => (accepted, false),
            Some(ended) = tasks.join_next() => {
                tell_panic(&app, ended);
                continue;
            }
        };
        match accepted {
            Ok((stream, _)) => {
                tasks.spawn_local(welcome(Rc::clone(&app), Rc::clone(&places), stream, root_socket));
            }
            Err(error) => {
                app.log.error(&format!("a connection could not be taken: {error}"));
                // Out of descriptors, mostly: the next try would fail as fast.
                sleep(Duration::from_millis(100)).await;
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

async fn welcome(app: Rc<App>, places: Rc<Places>, stream: UnixStream, root_socket: bool) {
    let credentials = match stream.peer_cred() {
        Ok(credentials) => credentials,
        Err(error) => return app.log.warning(&format!("a peer without credentials: {error}")),
    };
    let caller = Caller {
        uid: credentials.uid(),
        gid: credentials.gid(),
        pid: credentials.pid(),
        root_socket: root_socket && credentials.uid() == 0,
    };
    let mut connection = Connection::new(stream);
    // That a refused peer does not read its refusal is nothing to act on.
    if root_socket && !caller.root_socket {
        app.log.caller_warning(
            &caller,
            &format!("user {} has opened root's socket; check its mode", caller.uid),
        );
        let _ = connection.complain(manage_calls::error::NOT_PERMITTED, "this socket is for root").await;
        return;
    }
    let Some(_place) = places.enter(&caller) else {
        app.log.caller_warning(&caller, &format!("user {} has too many connections", caller.uid));
        let _ = connection.complain(BUSY, "too many at once; end another one or try again").await;
        return;
    };
    if let Err(why) = first_call(&app, caller, connection).await {
        app.log.caller_warning(&caller, &format!("user {} sent no usable call: {why}", caller.uid));
    }
}

#[derive(serde::Deserialize)]
struct AnyCall {
    method: String,
}

async fn first_call(app: &Rc<App>, caller: Caller, mut connection: Connection) -> Result<(), String> {
    let frame = match timeout(FRAME_TIME, connection.recv_frame()).await {
        Ok(Ok(Some(frame))) => frame,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no call in time".into()),
    };
    let method = frame::decode::<AnyCall>(&frame).map(|call| call.method).unwrap_or_default();
    if method.starts_with("org.countersign.Login.") {
        match frame::decode(&frame) {
            Ok(login_calls::Call::Begin(begin)) => {
                login::serve(Rc::clone(app), caller, connection, *begin).await;
                Ok(())
            }
            Ok(login_calls::Call::Continue(_)) => {
                refuse(&mut connection, login::BAD_CALL, "a login starts with Begin").await
            }
            Err(error) => refuse(&mut connection, login::BAD_CALL, &error.to_string()).await,
        }
    } else if method.starts_with("org.countersign.Manage.") {
        manage::serve(app, caller, connection, &frame).await.map_err(|error| error.to_string())
    } else {
        refuse(&mut connection, UNKNOWN, "there is org.countersign.Login and org.countersign.Manage").await
    }
}

async fn refuse(connection: &mut Connection, error: &str, message: &str) -> Result<(), String> {
    let _ = connection.complain(error, message).await;
    Err(message.to_owned())
}

/// How many connections there are, and whose.
#[derive(Default)]
struct Places {
    taken: RefCell<Taken>,
}

#[derive(Default)]
struct Taken {
    all: u32,
    by_uid: HashMap<u32, u32>,
}

/// A connection's place; free again when dropped.
struct Place {
    places: Rc<Places>,
    uid: Option<u32>,
}

impl Places {
    fn enter(self: &Rc<Self>, caller: &Caller) -> Option<Place> {
        let mut taken = self.taken.borrow_mut();
        if caller.root_socket {
            if taken.all >= MAX_CONNECTIONS {
                return None;
            }
        } else {
            if taken.all >= MAX_CONNECTIONS - KEPT_FOR_ROOT {
                return None;
            }
            let own = taken.by_uid.entry(caller.uid).or_default();
            if *own >= MAX_OF_A_USER {
                return None;
            }
            *own += 1;
        }
        taken.all += 1;
        let uid = (!caller.root_socket).then_some(caller.uid);
        Some(Place { places: Rc::clone(self), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.borrow_mut();
        taken.all = taken.all.saturating_sub(1);
        if let Some(uid) = self.uid
            && let Some(own) = taken.by_uid.get_mut(&uid)
        {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.by_uid.remove(&uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32, root_socket: bool) -> Caller {
        Caller { uid, gid: uid, pid: None, root_socket }
    }

    #[test]
    fn a_user_has_four_places_and_gets_them_back() {
        let places = Rc::new(Places::default());
        let mut held: Vec<_> = (0..4).map(|_| places.enter(&caller(1000, false)).unwrap()).collect();
        assert!(places.enter(&caller(1000, false)).is_none());
        assert!(places.enter(&caller(1001, false)).is_some());
        held.pop();
        assert!(places.enter(&caller(1000, false)).is_some());
        held.clear();
        assert!(places.taken.borrow().by_uid.is_empty());
        assert_eq!(places.taken.borrow().all, 0);
    }

    #[test]
    fn users_cannot_take_roots_places() {
        let places = Rc::new(Places::default());
        let mut held = Vec::new();
        for uid in 0.. {
            match places.enter(&caller(uid, false)) {
                Some(place) => held.push(place),
                None => break,
            }
        }
        assert_eq!(held.len() as u32, MAX_CONNECTIONS - KEPT_FOR_ROOT);
        for _ in 0..KEPT_FOR_ROOT {
            held.push(places.enter(&caller(0, true)).unwrap());
        }
        assert!(places.enter(&caller(0, true)).is_none());
    }
}
