//! The database's schema, as numbered steps. A step that has been released never changes.

use rusqlite_migration::{M, Migrations};

const STEPS: &[M<'_>] = &[
    M::up(
        "CREATE TABLE hosts (
             id BLOB PRIMARY KEY CHECK (length(id) = 32),
             key TEXT NOT NULL,
             name TEXT NOT NULL,
             joined_at INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;
         CREATE TABLE devices (
             id BLOB PRIMARY KEY CHECK (length(id) = 32),
             card TEXT NOT NULL,
             signature TEXT NOT NULL,
             serial INTEGER NOT NULL,
             registered_at INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;
         CREATE TABLE links (
             host BLOB NOT NULL REFERENCES hosts (id),
             device BLOB NOT NULL REFERENCES devices (id),
             linked_at INTEGER NOT NULL,
             PRIMARY KEY (host, device)
         ) STRICT, WITHOUT ROWID;
         CREATE TABLE join_tokens (
             hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
             expires_at INTEGER NOT NULL,
             used_by BLOB REFERENCES hosts (id)
         ) STRICT, WITHOUT ROWID;",
    ),
    // The hosts of a device, and what a host's deletion has to look at, without a scan.
    M::up(
        "CREATE INDEX links_by_device ON links (device, host);
         CREATE INDEX join_tokens_by_host ON join_tokens (used_by);",
    ),
    // Web Push: the server's own key, and where devices want to be rung.
    M::up(
        "CREATE TABLE push_key (
             id INTEGER PRIMARY KEY CHECK (id = 1),
             secret BLOB NOT NULL CHECK (length(secret) = 32)
         ) STRICT;
         CREATE TABLE subscriptions (
             device BLOB PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
             endpoint TEXT NOT NULL,
             p256dh BLOB NOT NULL CHECK (length(p256dh) = 65),
             auth BLOB NOT NULL CHECK (length(auth) = 16),
             subscribed_at INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID;",
    ),
];

/// All steps.
pub(super) const MIGRATIONS: Migrations<'_> = Migrations::from_slice(STEPS);

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn every_step_runs_on_an_empty_database() {
        MIGRATIONS.validate().unwrap();
    }

    #[test]
    fn an_older_database_keeps_what_it_has() {
        let mut conn = Connection::open_in_memory().unwrap();
        MIGRATIONS.to_version(&mut conn, 1).unwrap();
        conn.execute("INSERT INTO hosts VALUES (zeroblob(32), 'key', 'name', 1)", ()).unwrap();
        MIGRATIONS.to_latest(&mut conn).unwrap();
        let name: String = conn.query_row("SELECT name FROM hosts", (), |row| row.get(0)).unwrap();
        assert_eq!(name, "name");
        let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version as usize, STEPS.len());
    }
}
