//! The end of a device: by the `countersign` command, or by another device of its user.
//!
//! Root's word ends the key for everybody. A user's word ends it as well, unless the device approves for
//! somebody else, too: then it is taken from that user alone.

use crate::app::App;
use crate::devices::Device;
use crate::manage::{Answer, Refusal, write_record};
use crate::{events, notices};
use countersign_protocol::audit::Record;
use countersign_protocol::message::DeviceChange;
use countersign_protocol::signed::SignedMessage;
use std::io;
use std::rc::Rc;

/// Whether a key approves for somebody else, too. A card is no secret: who has paired another's device
/// as their own must not end it for both.
pub(crate) fn is_anothers(app: &App, user: &str, device: &Device) -> bool {
    let id = device.id();
    app.devices.all().iter().any(|other| other.id() == id && other.user != user)
}

/// Ends a device's key for good, for all its users; gives what was removed. `removal` is what another
/// device signed, where that is why. The remaining devices are told.
pub(crate) async fn revoke(
    app: &Rc<App>,
    device: &Device,
    by: &str,
    removal: Option<&SignedMessage>,
) -> Answer<Vec<Device>> {
    let id = device.id();
    let users: Vec<String> =
        app.devices.all().into_iter().filter(|other| other.id() == id).map(|other| other.user).collect();
    let reason = format!("\"{}\" by {by}", device.card.card.name);
    let key = &device.card.key;
    written_down(app, "revoked", (&users, device), &reason, removal, app.approvers.revoke(key)).await?;
    let removed = async {
        app.approvers.forget(key).await?;
        app.devices.remove(&id).await
    }
    .await
    .map_err(|error| {
        Refusal::fault(format!(
            "its key has ended, but not all of it could be removed: {error}; revoke it again"
        ))
    })
    .inspect_err(|Refusal(_, why)| app.log.error(&format!("{}: {why}", key.fingerprint())))?;
    events::removed(app, &removed);
    tell(app, &removed);
    if let Some(client) = app.relay.client() {
        // The server only forgets to whom it may send; the key has ended already.
        tokio::task::spawn_local({
            let log = app.log.clone();
            async move {
                if let Err(why) = client.unlink(&id).await {
                    log.warning(&format!("the server was not told of a revoked device: {why}"));
                }
            }
        });
    }
    Ok(removed)
}

/// Takes a device away as its user wants it: for good, unless it is also somebody else's, who then keeps it.
pub(crate) async fn take_away(
    app: &Rc<App>,
    user: &str,
    device: &Device,
    by: &str,
    removal: Option<&SignedMessage>,
) -> Answer<Vec<Device>> {
    if !is_anothers(app, user, device) {
        return revoke(app, device, by, removal).await;
    }
    let name = &device.card.card.name;
    let reason = format!("\"{name}\" by {by}; its key still approves for somebody else");
    let users = [user.to_owned()];
    let removed = written_down(app, "unpaired", (&users, device), &reason, removal, async {
        app.approvers.remove(user, &device.card.key).await?;
        // Without an entry here a key decides nothing, whatever the administrator's file lists.
        app.devices.remove_from(user, &device.id()).await
    })
    .await?;
    events::removed(app, &removed);
    tell(app, &removed);
    Ok(removed)
}

/// Writes down for each of these users that a device ends, and then has it done. Meanwhile it decides nothing more for
/// them. What was written down and could not be done is taken back in the audit, since the device may go on.
async fn written_down<T>(
    app: &App,
    event: &str,
    (users, device): (&[String], &Device),
    reason: &str,
    removal: Option<&SignedMessage>,
    done: impl Future<Output = io::Result<T>>,
) -> Answer<T> {
    let _held: Vec<_> = users.iter().map(|user| app.approvers.hold(user, &device.card.key)).collect();
    let mut written = 0;
    let result = async {
        for user in users {
            write_record(app, record(event, user, device, reason.to_owned(), removal)).await?;
            written += 1;
        }
        done.await.map_err(Refusal::fault)
    }
    .await;
    if let Err(Refusal(_, why)) = &result {
        for user in users.iter().take(written) {
            let failed = record("revoke-failed", user, device, why.clone(), None);
            if let Err(Refusal(_, why)) = write_record(app, failed).await {
                app.log.error(&format!("that the end of a device of {user} has failed: {why}"));
            }
        }
    }
    result
}

fn tell(app: &App, removed: &[Device]) {
    for device in removed {
        app.notices.forget(&device.user, &device.id());
        notices::tell(app, &device.user, DeviceChange::Removed, device);
    }
}

fn record(
    event: &str,
    user: &str,
    device: &Device,
    reason: String,
    removal: Option<&SignedMessage>,
) -> Record {
    let text = |message: &SignedMessage| String::from_utf8_lossy(&message.bytes).into_owned();
    Record {
        event: event.into(),
        user: Some(user.to_owned()),
        device: Some(device.card.key.fingerprint()),
        reason: Some(reason),
        removal: removal.map(text),
        removal_signature: removal.map(|message| message.signature.clone()),
        ..Record::default()
    }
}
