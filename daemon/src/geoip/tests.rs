use super::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

const TABLES: [&str; 4] = ["test-24.mmdb", "test-28.mmdb", "test-32.mmdb", "test-ipv4.mmdb"];

/// One that tests/lab/mmdb.py has written.
fn given(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/geoip").join(name)
}

fn table(path: &Path) -> std::io::Result<Table> {
    Table::read(std::fs::File::open(path)?)
}

/// Addresses in and beside all networks of the tables.
fn addresses() -> impl Iterator<Item = IpAddr> {
    let known = ["192.0.2.7", "198.51.100.1", "198.51.100.200", "203.0.113.7", "203.0.113.8", "203.0.113.9"];
    let known =
        known.into_iter().chain(["2001:db8::1", "2001:db9::1", "2001:dba::1", "::1", "::ffff:192.0.2.1"]);
    let known = known.map(|text| text.parse().unwrap());
    let many = (0..=255).map(|n| IpAddr::V4(Ipv4Addr::new(10, n, n, n)));
    known.chain(many).chain((0..64).map(|bit| IpAddr::V6(Ipv6Addr::from(1_u128 << bit << 64))))
}

#[test]
fn it_says_what_an_independent_reader_says() {
    let mut found = 0;
    for name in TABLES {
        let ours = table(&given(name)).unwrap();
        let theirs = maxminddb::Reader::open_readfile(given(name)).unwrap();
        for address in addresses() {
            let read = ours.texts(address, [CITY, COUNTRY]).unwrap();
            let is_six = matches!(address.to_canonical(), IpAddr::V6(_));
            if is_six && name.contains("ipv4") {
                assert_eq!(read, [None, None]);
                continue;
            }
            let record =
                theirs.lookup(address.to_canonical()).unwrap().decode::<serde_json::Value>().unwrap();
            let text = |path: [&str; 3]| {
                record.as_ref()?.get(path[0])?.get(path[1])?.get(path[2])?.as_str().map(str::to_owned)
            };
            assert_eq!(
                read,
                [text(["city", "names", "en"]), text(["country", "names", "en"])],
                "{name} {address}"
            );
            found += u32::from(read[1].is_some());
        }
    }
    assert!(found > 4 * 200, "{found}");
}

#[tokio::test]
async fn a_place_is_short_and_plain() {
    let geoip = Geoip::default();
    assert_eq!(geoip.place("192.0.2.7").await, None, "without a table");
    geoip.open(Some(&given("test-28.mmdb")), Owner::own()).unwrap();
    let text = async |address| geoip.place(address).await.map(|place| place.text);
    assert_eq!(text("192.0.2.7").await.as_deref(), Some("Berlin, Germany"));
    assert_eq!(text("::ffff:192.0.2.7").await.as_deref(), Some("Berlin, Germany"));
    assert_eq!(text("2001:db8::7").await.as_deref(), Some("Reykjavík, Iceland"));
    assert_eq!(text("198.51.100.200").await.as_deref(), Some("Brazil"));
    assert_eq!(
        text("203.0.113.7").await.as_deref(),
        Some("Switzerland"),
        "a name that turns the line around is none"
    );
    assert_eq!(text("203.0.113.8").await.map(|text| text.len()), Some(MAX_PLACE));
    for unknown in ["203.0.113.9", "2001:db9::1", "host.example.com", ""] {
        assert_eq!(text(unknown).await, None, "{unknown}");
    }
    geoip.open(None, Owner::own()).unwrap();
    assert_eq!(text("192.0.2.7").await, None, "no longer");
}

#[test]
fn what_is_no_table_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mmdb");
    let fault = || Geoip::default().open(Some(&path), Owner::own()).unwrap_err();
    assert!(fault().contains("x.mmdb: it does not exist; phones are told no places"), "{}", fault());
    for text in [&b""[..], b"no table", b"\xab\xcd\xefMaxMind.com", b"\xab\xcd\xefMaxMind.com\xe1"] {
        std::fs::write(&path, text).unwrap();
        assert!(fault().contains("cannot be read"), "{}", fault());
    }
}

/// Damaged in any byte, or cut short: an answer or an error, soon, and never a panic.
#[test]
fn a_damaged_table_is_an_error_or_another_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mmdb");
    let good = std::fs::read(given("test-24.mmdb")).unwrap();
    let asked: Vec<IpAddr> = addresses().take(12).collect();
    let look = || {
        if let Ok(table) = table(&path) {
            for address in &asked {
                let _ = table.texts(*address, [CITY, COUNTRY]);
            }
        }
    };
    for at in (0..good.len()).step_by(23).chain(good.len() - 300..good.len()) {
        for change in [0xff, 0x20, 0x01] {
            let mut bad = good.clone();
            bad[at] ^= change;
            std::fs::write(&path, bad).unwrap();
            look();
        }
    }
    for length in (0..good.len()).step_by(97) {
        std::fs::write(&path, &good[..length]).unwrap();
        look();
    }
}

/// A table that somebody shortens in place, as `cp` does, while it is in use.
#[test]
fn a_table_that_shrinks_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.mmdb");
    std::fs::copy(given("test-24.mmdb"), &path).unwrap();
    let table = table(&path).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert!(table.texts("192.0.2.7".parse().unwrap(), [CITY, COUNTRY]).is_err());
}
