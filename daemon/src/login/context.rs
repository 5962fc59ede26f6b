//! What this host knows of a login that nobody has told it, for the person at the phone to weigh.

use countersign_protocol::message::{Context, MAX_BODY, MAX_OFFSET, MAX_ZONE, Request, Zone};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::facts::Facts;
use crate::app::App;

/// What is known of a login of this user.
pub(super) async fn gather(app: &App, facts: &Facts, user: &str) -> Context {
    let remote = facts.remote.as_ref();
    let place = match remote {
        Some(remote) => app.geoip.place(&remote.address).await,
        None => None,
    };
    let new_source = remote.is_some() && app.sources.is_new(user, &facts.source());
    Context { new_source, place, zone: zone(&TimeZone::system(), Timestamp::now()) }
}

/// A time zone at a moment.
fn zone(zone: &TimeZone, now: Timestamp) -> Option<Zone> {
    let offset = i16::try_from(zone.to_offset(now).seconds() / 60).ok()?;
    let name = zone.iana_name().filter(|name| name.len() <= MAX_ZONE).map(str::to_owned);
    (offset.unsigned_abs() <= MAX_OFFSET.unsigned_abs()).then_some(Zone { name, offset })
}

/// Makes room where a request is longer than it may be: its command and then its detail are cut, as far as that helps, and
/// of the context what is only nice to know goes. That a source is new stays: a long command must not hide it.
pub(super) fn fit(request: &mut Request) {
    let over = |request: &Request| {
        serde_json::to_vec(request).map_or(0, |bytes| bytes.len()).saturating_sub(MAX_BODY)
    };
    if over(request) > 0
        && let Some(context) = &mut request.context
    {
        (context.place, context.zone) = (None, None);
    }
    let texts: [fn(&mut Request) -> &mut Option<String>; 2] =
        [|request| &mut request.command, |request| &mut request.detail];
    for text in texts {
        let before = text(request).clone().unwrap_or_default();
        let mut kept: Vec<char> = before.trim_end_matches('…').chars().collect();
        while over(request) > 0 && !kept.is_empty() {
            // Each character is a byte at least; most are no more.
            let much = (over(request) / 6).max(1).min(kept.len());
            kept.truncate(kept.len() - much);
            *text(request) = Some(kept.iter().chain(&['…']).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Lab;
    use countersign_protocol::message::{Confirm, List, MAX_DETAIL, Place, PlaceSource};
    use std::time::Duration;

    #[test]
    fn a_zone_is_what_its_clocks_show() {
        let summer: Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
        let winter: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let at = |name: &str, when| zone(&TimeZone::get(name).unwrap(), when).unwrap();
        assert_eq!(at("Europe/Berlin", summer), Zone { name: Some("Europe/Berlin".into()), offset: 120 });
        assert_eq!(at("Europe/Berlin", winter).offset, 60);
        assert_eq!(at("America/St_Johns", summer).offset, -150);
        assert_eq!(
            zone(&TimeZone::fixed(jiff::tz::offset(2)), summer),
            Some(Zone { name: None, offset: 120 })
        );
    }

    #[tokio::test]
    async fn a_request_with_the_longest_values_keeps_its_limit_and_its_warning() {
        let lab = Lab::new();
        let open = lab.request("alice", Confirm::Code, Duration::from_secs(60));
        let short: Request = serde_json::from_slice(&open.signed.bytes).unwrap();
        let place = Place { text: "\"".repeat(96), source: PlaceSource::Geoip };
        let zone = Zone { name: Some("z".repeat(64)), offset: -1080 };
        let context = Context { new_source: true, place: Some(place), zone: Some(zone) };
        for command in ["x".repeat(1000), "\u{7}".repeat(166), "é".repeat(500), "\"".repeat(500)] {
            let mut request =
                Request { context: Some(context.clone()), command: Some(command.clone()), ..short.clone() };
            fit(&mut request);
            assert!(serde_json::to_vec(&request).unwrap().len() <= MAX_BODY);
            assert_eq!(request.command.as_deref(), Some(command.as_str()), "the context alone has to go");

            let name = "n".repeat(250);
            request.context = Some(context.clone());
            (request.requester, request.terminal) = (Some(name.clone()), Some(name.clone()));
            request.service = name;
            fit(&mut request);
            let cut = request.command.unwrap();
            assert!(cut.ends_with('…') && command.starts_with(cut.trim_end_matches('…')), "{cut}");
            assert!(cut.len() > 50, "{cut}");
            assert_eq!(request.context, Some(Context { new_source: true, ..Context::default() }));
        }
        let mut request = Request { context: Some(context.clone()), ..short.clone() };
        fit(&mut request);
        assert_eq!(request.context, Some(context), "where there is room");

        for detail in ["d".repeat(300), "\u{7}".repeat(300), "é".repeat(150)] {
            let command = Some("\u{7}".repeat(166));
            let list = List { sha256: "ab".repeat(32), bytes: 262_144, lines: 9999, key: "A".repeat(24) };
            let detail = Some(detail.clone());
            let mut request = Request { command, detail: detail.clone(), list: Some(list), ..short.clone() };
            fit(&mut request);
            assert!(serde_json::to_vec(&request).unwrap().len() <= MAX_BODY);
            let cut = request.detail.unwrap();
            let is_whole = detail.as_deref() == Some(cut.as_str());
            assert!(
                is_whole
                    || (cut.ends_with('…') && cut.len() > 100 && request.command.as_deref() == Some("…"))
            );
            assert!(cut.len() <= MAX_DETAIL);
        }
    }
}
