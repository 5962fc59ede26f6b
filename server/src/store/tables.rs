//! The statements. Times are seconds since 1970.

use crate::directory::{Directory, KeyId, Role};
use countersign_protocol::api::{KnownHost, SignedCard};
use countersign_protocol::digest;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior};

/// How long a used or expired join token is remembered, so that a host which lost the answer can ask
/// again and others hear what is wrong.
const REMEMBER: u64 = 24 * 3600;
/// Most join tokens that may be waiting.
const MAX_JOIN_TOKENS: u32 = 10_000;

/// How a host's joining went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    New,
    Again,
    /// There is no such token.
    NoToken,
    /// Another host has used it.
    Used,
    Expired,
    /// The key is known as a device's.
    IsDevice,
}

/// How taking a device's card went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Carded {
    New,
    Newer,
    Same,
    /// A card with this or a higher serial is known.
    Older,
    /// The key is known as a host's.
    IsHost,
    /// There is no such device, and no host wants it.
    Unknown,
}

fn key_id(row: &Row<'_>, column: usize) -> rusqlite::Result<KeyId> {
    row.get(column).map(KeyId)
}

fn time(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Everything that the server keeps in memory.
pub(crate) fn load(conn: &Connection) -> rusqlite::Result<Directory> {
    let mut directory = Directory::default();
    let mut rows = conn.prepare("SELECT id FROM hosts")?;
    for id in rows.query_map((), |row| key_id(row, 0))? {
        directory.add(id?, Role::Host);
    }
    let mut rows = conn.prepare("SELECT id FROM devices")?;
    for id in rows.query_map((), |row| key_id(row, 0))? {
        directory.add(id?, Role::Device);
    }
    let mut rows = conn.prepare("SELECT host, device FROM links")?;
    for link in rows.query_map((), |row| Ok((key_id(row, 0)?, key_id(row, 1)?)))? {
        let (host, device) = link?;
        if let (Some((host, _)), Some((device, _))) = (directory.find(&host), directory.find(&device)) {
            directory.link(host, device);
        }
    }
    Ok(directory)
}

/// Stores a join token's hash. False when too many are waiting.
pub(crate) fn add_join_token(
    conn: &mut Connection,
    token: &str,
    now: u64,
    life: u64,
) -> rusqlite::Result<bool> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute("DELETE FROM join_tokens WHERE expires_at < ?1", [time(now.saturating_sub(REMEMBER))])?;
    let waiting: u32 =
        tx.query_row("SELECT count(*) FROM join_tokens WHERE used_by IS NULL", (), |row| row.get(0))?;
    if waiting >= MAX_JOIN_TOKENS {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO join_tokens (hash, expires_at) VALUES (?1, ?2)",
        (digest::sha256(token.as_bytes()), time(now.saturating_add(life))),
    )?;
    tx.commit()?;
    Ok(true)
}

/// Lets a host join that has a token.
pub(crate) fn join(
    conn: &mut Connection,
    token: &str,
    id: KeyId,
    key: &str,
    name: &str,
    now: u64,
) -> rusqlite::Result<Joined> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let hash = digest::sha256(token.as_bytes());
    let found = tx
        .query_row("SELECT expires_at, used_by FROM join_tokens WHERE hash = ?1", [hash], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<[u8; 32]>>(1)?.map(KeyId)))
        })
        .optional()?;
    let unused = match found {
        None => return Ok(Joined::NoToken),
        Some((_, Some(user))) if user != id => return Ok(Joined::Used),
        Some((expires_at, None)) if expires_at <= time(now) => return Ok(Joined::Expired),
        Some((_, used_by)) => used_by.is_none(),
    };
    if exists(&tx, "SELECT 1 FROM devices WHERE id = ?1", id)? {
        return Ok(Joined::IsDevice);
    }
    let known = exists(&tx, "SELECT 1 FROM hosts WHERE id = ?1", id)?;
    tx.execute(
        "INSERT INTO hosts (id, key, name, joined_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        (id.0, key, name, time(now)),
    )?;
    if unused {
        tx.execute("UPDATE join_tokens SET used_by = ?2 WHERE hash = ?1", (hash, id.0))?;
    }
    tx.commit()?;
    Ok(if known { Joined::Again } else { Joined::New })
}

fn exists(conn: &Connection, sql: &str, id: KeyId) -> rusqlite::Result<bool> {
    conn.prepare_cached(sql)?.exists([id.0])
}

/// Takes a device's card, and links the device to a host where one is given. True when the link is
/// new.
pub(crate) fn put_card(
    conn: &mut Connection,
    id: KeyId,
    card: &SignedCard,
    serial: i64,
    host: Option<KeyId>,
    now: u64,
) -> rusqlite::Result<(Carded, bool)> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if exists(&tx, "SELECT 1 FROM hosts WHERE id = ?1", id)? {
        return Ok((Carded::IsHost, false));
    }
    let known = tx
        .query_row("SELECT serial, card FROM devices WHERE id = ?1", [id.0], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let carded = match known {
        None if host.is_none() => return Ok((Carded::Unknown, false)),
        None => Carded::New,
        Some((_, text)) if text == card.card => Carded::Same,
        Some((old, _)) if serial > old => Carded::Newer,
        Some(_) => return Ok((Carded::Older, false)),
    };
    if carded != Carded::Same {
        tx.execute(
            "INSERT INTO devices (id, card, signature, serial, registered_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (id) DO UPDATE
             SET card = excluded.card, signature = excluded.signature, serial = excluded.serial",
            (id.0, &card.card, &card.signature, serial, time(now)),
        )?;
    }
    let linked = match host {
        Some(host) => tx.execute(
            "INSERT INTO links (host, device, linked_at) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            (host.0, id.0, time(now)),
        )?,
        None => 0,
    };
    tx.commit()?;
    Ok((carded, linked > 0))
}

/// How ending a link went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unlinked {
    /// There was none.
    NoLink,
    /// The device has others.
    Link,
    /// It was the device's last one, so the device is forgotten.
    Device,
}

/// Ends a link, and forgets a device that has no other: it was known because a host wanted it.
pub(crate) fn unlink(conn: &mut Connection, host: KeyId, device: KeyId) -> rusqlite::Result<Unlinked> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let ended = tx.execute("DELETE FROM links WHERE host = ?1 AND device = ?2", (host.0, device.0))?;
    if ended == 0 {
        return Ok(Unlinked::NoLink);
    }
    let forgotten = tx.execute(
        "DELETE FROM devices WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM links WHERE device = ?1)",
        [device.0],
    )?;
    tx.commit()?;
    Ok(if forgotten > 0 { Unlinked::Device } else { Unlinked::Link })
}

/// The cards of a host's devices.
pub(crate) fn cards(conn: &Connection, host: KeyId) -> rusqlite::Result<Vec<SignedCard>> {
    conn.prepare_cached(
        "SELECT card, signature FROM devices JOIN links ON links.device = devices.id
         WHERE links.host = ?1 ORDER BY links.linked_at, devices.id",
    )?
    .query_map([host.0], |row| Ok(SignedCard { card: row.get(0)?, signature: row.get(1)? }))?
    .collect()
}

/// The hosts of a device.
pub(crate) fn hosts(conn: &Connection, device: KeyId) -> rusqlite::Result<Vec<KnownHost>> {
    conn.prepare_cached(
        "SELECT hosts.id, name FROM hosts JOIN links ON links.host = hosts.id
         WHERE links.device = ?1 ORDER BY name, hosts.id",
    )?
    .query_map([device.0], |row| Ok(KnownHost { id: key_id(row, 0)?.to_string(), name: row.get(1)? }))?
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: KeyId = KeyId([1; 32]);
    const OTHER: KeyId = KeyId([2; 32]);
    const DEVICE: KeyId = KeyId([3; 32]);

    fn database() -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let conn = crate::store::connect(&dir.path().join("a.db")).unwrap();
        (dir, conn)
    }

    fn card(text: &str) -> SignedCard {
        SignedCard { card: text.to_owned(), signature: "signature".to_owned() }
    }

    #[test]
    fn a_join_token_is_good_once_and_not_for_ever() {
        let (_dir, mut conn) = database();
        assert!(add_join_token(&mut conn, "one", 100, 10).unwrap());
        assert_eq!(join(&mut conn, "two", HOST, "k", "n", 105).unwrap(), Joined::NoToken);
        assert_eq!(join(&mut conn, "one", HOST, "k", "n", 110).unwrap(), Joined::Expired);
        assert_eq!(join(&mut conn, "one", HOST, "k", "n", 109).unwrap(), Joined::New);
        assert_eq!(join(&mut conn, "one", OTHER, "k", "n", 109).unwrap(), Joined::Used);
        assert_eq!(join(&mut conn, "one", HOST, "k", "new", 500).unwrap(), Joined::Again);
        // Only a hash is in the file.
        let hashes: u32 = conn
            .query_row("SELECT count(*) FROM join_tokens WHERE hash = CAST('one' AS BLOB)", (), |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(hashes, 0);
    }

    #[test]
    fn serials_only_rise() {
        let (_dir, mut conn) = database();
        add_join_token(&mut conn, "one", 0, 10).unwrap();
        join(&mut conn, "one", HOST, "k", "n", 1).unwrap();
        let mut put =
            |text: &str, serial, host| put_card(&mut conn, DEVICE, &card(text), serial, host, 1).unwrap();
        assert_eq!(put("a", 5, Some(HOST)), (Carded::New, true));
        assert_eq!(put("a", 5, Some(HOST)), (Carded::Same, false));
        assert_eq!(put("b", 5, None), (Carded::Older, false));
        assert_eq!(put("b", 4, None), (Carded::Older, false));
        assert_eq!(put("b", 6, None), (Carded::Newer, false));
        assert_eq!(cards(&conn, HOST).unwrap(), [card("b")]);
        assert_eq!(hosts(&conn, DEVICE).unwrap()[0].name, "n");
    }

    #[test]
    fn a_device_is_known_as_long_as_it_has_a_host() {
        let (_dir, mut conn) = database();
        for (token, host) in [("one", HOST), ("two", OTHER)] {
            add_join_token(&mut conn, token, 0, 10).unwrap();
            join(&mut conn, token, host, "k", "n", 1).unwrap();
            put_card(&mut conn, DEVICE, &card("a"), 1, Some(host), 1).unwrap();
        }
        assert_eq!(unlink(&mut conn, HOST, DEVICE).unwrap(), Unlinked::Link);
        assert_eq!(unlink(&mut conn, HOST, DEVICE).unwrap(), Unlinked::NoLink);
        assert!(cards(&conn, HOST).unwrap().is_empty());
        assert_eq!(unlink(&mut conn, OTHER, DEVICE).unwrap(), Unlinked::Device);
        assert_eq!(load(&conn).unwrap().counts(), (2, 0, 0));
    }

    #[test]
    fn a_key_is_a_host_or_a_device() {
        let (_dir, mut conn) = database();
        for token in ["one", "two"] {
            add_join_token(&mut conn, token, 0, 10).unwrap();
        }
        join(&mut conn, "one", HOST, "k", "n", 1).unwrap();
        assert_eq!(put_card(&mut conn, HOST, &card("a"), 1, None, 1).unwrap().0, Carded::IsHost);
        assert_eq!(put_card(&mut conn, DEVICE, &card("a"), 1, None, 1).unwrap().0, Carded::Unknown);
        put_card(&mut conn, DEVICE, &card("a"), 1, Some(HOST), 1).unwrap();
        assert_eq!(join(&mut conn, "two", DEVICE, "k", "n", 1).unwrap(), Joined::IsDevice);
        let directory = load(&conn).unwrap();
        assert_eq!(directory.counts(), (1, 1, 1));
    }
}
