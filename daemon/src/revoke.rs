//! The end of a device: by the `countersign` command, or by another device of its user.

use crate::app::App;
use crate::devices::Device;
use crate::manage::{Answer, Refusal, write_record};
use crate::notices;
use countersign_protocol::audit::Record;
use countersign_protocol::message::DeviceChange;
use countersign_protocol::signed::SignedMessage;
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
    user: &str,
    device: &Device,
    by: &str,
    removal: Option<&SignedMessage>,
) -> Answer<Vec<Device>> {
    let (key, id) = (&device.card.key, device.id());
    let text = |message: &SignedMessage| String::from_utf8_lossy(&message.bytes).into_owned();
    write_record(
        app,
        Record {
            event: "revoked".into(),
            user: Some(user.to_owned()),
            device: Some(key.fingerprint()),
            reason: Some(format!("\"{}\" by {by}", device.card.card.name)),
            removal: removal.map(text),
            removal_signature: removal.map(|message| message.signature.clone()),
            ..Record::default()
        },
    )
    .await?;
    app.approvers.revoke(key).await.map_err(Refusal::fault)?;
    let removed = app.devices.remove(&id).await.map_err(Refusal::fault)?;
    app.notices.forget(&id);
    for device in &removed {
        notices::tell(app, &device.user, DeviceChange::Removed, device);
    }
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
