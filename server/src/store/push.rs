//! The statements about Web Push. Times are seconds since 1970.

use crate::directory::KeyId;
use base64ct::{Base64UrlUnpadded, Encoding};
use countersign_protocol::api::Subscription;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use zeroize::Zeroizing;

/// The server's secret for Web Push; `new` when there is none yet. Whichever was stored first counts:
/// with another one, every device would have to subscribe again.
pub(crate) fn secret(conn: &mut Connection, new: &[u8]) -> rusqlite::Result<Zeroizing<[u8; 32]>> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute("INSERT INTO push_key (id, secret) VALUES (1, ?1) ON CONFLICT DO NOTHING", [new])?;
    let secret = tx.query_row("SELECT secret FROM push_key WHERE id = 1", (), |row| row.get(0))?;
    tx.commit()?;
    Ok(Zeroizing::new(secret))
}

/// All subscriptions.
pub(crate) fn subscriptions(conn: &Connection) -> rusqlite::Result<Vec<(KeyId, Subscription)>> {
    conn.prepare("SELECT device, endpoint, p256dh, auth FROM subscriptions")?
        .query_map((), |row| {
            let base64 = |bytes: Vec<u8>| Base64UrlUnpadded::encode_string(&bytes);
            let (p256dh, auth) = (base64(row.get(2)?), base64(row.get(3)?));
            Ok((KeyId(row.get(0)?), Subscription { endpoint: row.get(1)?, p256dh, auth }))
        })?
        .collect()
}

/// Takes a device's subscription, in place of one that is there. False when the device is not known.
pub(crate) fn subscribe(
    conn: &mut Connection,
    device: KeyId,
    subscription: &Subscription,
    now: u64,
) -> rusqlite::Result<bool> {
    let bytes = |text: &str| Base64UrlUnpadded::decode_vec(text).unwrap_or_default();
    let known = conn.execute(
        "INSERT INTO subscriptions (device, endpoint, p256dh, auth, subscribed_at)
         SELECT id, ?2, ?3, ?4, ?5 FROM devices WHERE id = ?1
         ON CONFLICT (device) DO UPDATE
         SET endpoint = excluded.endpoint, p256dh = excluded.p256dh, auth = excluded.auth,
             subscribed_at = excluded.subscribed_at",
        (
            device.0,
            &subscription.endpoint,
            bytes(&subscription.p256dh),
            bytes(&subscription.auth),
            i64::try_from(now).unwrap_or(i64::MAX),
        ),
    )?;
    Ok(known > 0)
}

/// Forgets a device's subscription; where an endpoint is given, only if it is that one.
pub(crate) fn unsubscribe(
    conn: &Connection,
    device: KeyId,
    endpoint: Option<&str>,
) -> rusqlite::Result<bool> {
    let held: Option<String> = conn
        .query_row("SELECT endpoint FROM subscriptions WHERE device = ?1", [device.0], |row| row.get(0))
        .optional()?;
    if held.is_none() || endpoint.is_some_and(|endpoint| held.as_deref() != Some(endpoint)) {
        return Ok(false);
    }
    conn.execute("DELETE FROM subscriptions WHERE device = ?1", [device.0])?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tables::{self, Unlinked};
    use countersign_protocol::api::SignedCard;

    const HOST: KeyId = KeyId([1; 32]);
    const DEVICE: KeyId = KeyId([3; 32]);

    fn database() -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let mut conn = crate::store::connect(&dir.path().join("a.db")).unwrap();
        tables::add_join_token(&mut conn, "one", 0, 10).unwrap();
        tables::join(&mut conn, "one", HOST, "k", "n", 1).unwrap();
        let card = SignedCard { card: "card".to_owned(), signature: "signature".to_owned() };
        tables::put_card(&mut conn, DEVICE, &card, 1, Some(HOST), 1).unwrap();
        (dir, conn)
    }

    fn subscription(endpoint: &str) -> Subscription {
        let base64 = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
        Subscription { endpoint: endpoint.to_owned(), p256dh: base64(&[4; 65]), auth: base64(&[5; 16]) }
    }

    #[test]
    fn the_secret_is_made_once() {
        let (_dir, mut conn) = database();
        assert_eq!(*secret(&mut conn, &[1; 32]).unwrap(), [1; 32]);
        assert_eq!(*secret(&mut conn, &[2; 32]).unwrap(), [1; 32]);
        assert!(secret(&mut database().1, &[1; 31]).is_err());
    }

    #[test]
    fn a_device_has_one_subscription() {
        let (_dir, mut conn) = database();
        for endpoint in ["https://a/", "https://b/"] {
            assert!(subscribe(&mut conn, DEVICE, &subscription(endpoint), 1).unwrap());
        }
        assert_eq!(subscriptions(&conn).unwrap(), [(DEVICE, subscription("https://b/"))]);
        assert!(!subscribe(&mut conn, KeyId([9; 32]), &subscription("https://c/"), 1).unwrap());
        assert!(!unsubscribe(&conn, DEVICE, Some("https://a/")).unwrap(), "another one has come meanwhile");
        assert!(unsubscribe(&conn, DEVICE, Some("https://b/")).unwrap());
        assert!(!unsubscribe(&conn, DEVICE, None).unwrap());
        assert!(subscriptions(&conn).unwrap().is_empty());
    }

    #[test]
    fn a_subscription_goes_with_its_device() {
        let (_dir, mut conn) = database();
        subscribe(&mut conn, DEVICE, &subscription("https://a/"), 1).unwrap();
        assert_eq!(tables::unlink(&mut conn, HOST, DEVICE).unwrap(), Unlinked::Device);
        assert!(subscriptions(&conn).unwrap().is_empty());
    }
}
