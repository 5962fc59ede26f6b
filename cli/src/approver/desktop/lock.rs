//! Whether the screen is locked, as logind knows it: who passes by must not approve.

use crate::bus::{call, connect};
use nix::unistd::getuid;
use std::time::Duration;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

const LOGIND: &str = "org.freedesktop.login1";
/// Sessions of the person that are looked at.
const MAX_SESSIONS: usize = 64;
/// How long the bus may take in all.
const PATIENCE: Duration = Duration::from_secs(3);

/// A row of ListSessions: id, uid, user, seat, path.
type Session = (String, u32, String, String, OwnedObjectPath);

/// Whether an approval by a popup must be refused, and why. A machine without logind has no word on it.
pub(super) async fn refuses(address: Option<&str>) -> Option<&'static str> {
    match tokio::time::timeout(PATIENCE, is_locked(address)).await {
        Ok(Ok(true)) => Some("the screen is locked: unlock it first (denying works)"),
        Ok(Ok(false)) => None,
        Ok(Err(())) | Err(_) => {
            Some("logind does not say whether the screen is locked: answer in a terminal")
        }
    }
}

async fn is_locked(address: Option<&str>) -> Result<bool, ()> {
    let Ok(connection) = connect(address.map(str::to_owned), zbus::connection::Builder::system).await else {
        return Ok(false);
    };
    let locked = any_locked(&connection).await;
    // Nothing is waited for any more.
    let _ = connection.close().await;
    locked
}

async fn any_locked(connection: &Connection) -> Result<bool, ()> {
    let manager = "org.freedesktop.login1.Manager";
    let reply = match call(connection, LOGIND, "/org/freedesktop/login1", manager, "ListSessions", &()).await
    {
        Ok(reply) => reply,
        Err(e) if is_absent(&e) => return Ok(false),
        Err(_) => return Err(()),
    };
    let sessions: Vec<Session> = reply.body().deserialize().map_err(|_| ())?;
    let own = getuid().as_raw();
    for (.., path) in sessions.iter().filter(|(_, uid, ..)| *uid == own).take(MAX_SESSIONS) {
        let property = ("org.freedesktop.login1.Session", "LockedHint");
        let reply =
            call(connection, LOGIND, path.as_str(), "org.freedesktop.DBus.Properties", "Get", &property);
        match reply.await {
            Ok(reply) => {
                let value: OwnedVariant = reply.body().deserialize().map_err(|_| ())?;
                if bool::try_from(&*value).map_err(|_| ())? {
                    return Ok(true);
                }
            }
            // It has ended since.
            Err(e) if is_absent(&e) => (),
            Err(_) => return Err(()),
        }
    }
    Ok(false)
}

/// Whether an error says that there is nothing to ask, as opposed to an answer that did not come.
fn is_absent(error: &zbus::Error) -> bool {
    use zbus::fdo::Error;
    let zbus::Error::FDO(error) = error else { return false };
    matches!(
        **error,
        Error::ServiceUnknown(_)
            | Error::NameHasNoOwner(_)
            | Error::UnknownObject(_)
            | Error::UnknownProperty(_)
    )
}
