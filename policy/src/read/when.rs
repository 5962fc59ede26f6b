//! Conditions, as they are written.

use countersign_protocol::login::Stage;

use crate::hours::Hours;
use crate::network::Networks;
use crate::patterns::Patterns;
use crate::table::Value;
use crate::{Fault, Groups, When};

use super::taken;

const STAGES: &[(&str, Stage)] = &[("auth", Stage::Auth), ("session", Stage::Session)];

/// Keys of conditions.
pub(super) const KEYS: &[&str] = &[
    "service",
    "stage",
    "user",
    "group",
    "requester",
    "remote",
    "network",
    "hours",
    "host",
    "terminal",
    "ssh_key",
    "ssh_key_type",
    "command",
    "new_source",
    "action",
    "origin",
];

/// Reads `when = { … }`.
pub(super) fn read(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> When {
    let Some(mut table) = taken(value.table("\"when\""), faults) else { return When::default() };
    let mut when = When::default();
    for (key, place) in [
        ("service", &mut when.service),
        ("user", &mut when.user),
        ("requester", &mut when.requester),
        ("host", &mut when.host),
        ("terminal", &mut when.terminal),
        ("ssh_key", &mut when.ssh_key),
        ("ssh_key_type", &mut when.ssh_key_type),
        ("command", &mut when.command),
        ("action", &mut when.action),
        ("origin", &mut when.origin),
    ] {
        *place = table.get(key).map(|value| patterns(&value, faults));
    }
    if let Some(value) = &table.get("ssh_key")
        && let Some(keys) = &when.ssh_key
    {
        fingerprints(value, keys, faults);
    }
    when.group = table.get("group").map(|value| groups(&value, faults));
    when.network = table.get("network").map(|value| networks(&value, faults));
    when.hours = table.get("hours").map(|value| hours(&value, faults)).unwrap_or_default();
    when.stage = table.get("stage").and_then(|value| taken(value.word(STAGES), faults));
    when.remote = table.get("remote").and_then(|value| taken(value.flag(), faults));
    when.new_source = table.get("new_source").and_then(|value| taken(value.flag(), faults));
    table.finish(&[("beside \"when\"", super::rule::KEYS)], faults);
    when
}

fn patterns(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Patterns {
    let mut patterns = Patterns::default();
    each(value, faults, |text| patterns.add(text));
    something(value, patterns.is_empty(), faults);
    patterns
}

fn networks(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Networks {
    let mut networks = Networks::default();
    each(value, faults, |text| networks.add(text));
    something(value, networks.is_empty(), faults);
    networks
}

fn groups(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Groups {
    let mut groups = Groups::default();
    each(value, faults, |text| {
        let (list, name) = match text.strip_prefix('!') {
            Some(name) => (&mut groups.not, name),
            None => (&mut groups.meant, text),
        };
        if name.is_empty() || name.contains(['*', '?', '!', '\0', ',']) {
            return Err("a group is named in full, with at most one \"!\" in front".to_owned());
        }
        list.push(name.to_owned());
        Ok(())
    });
    something(value, groups.meant.is_empty(), faults);
    groups
}

fn hours(value: &Value<'_, '_>, faults: &mut Vec<Fault>) -> Vec<Hours> {
    let mut list = Vec::new();
    each(value, faults, |text| {
        list.push(Hours::read(text)?);
        Ok(())
    });
    something(value, list.is_empty(), faults);
    list
}

/// A fingerprint that is written wrong would match nothing, and nobody would see why.
fn fingerprints(value: &Value<'_, '_>, keys: &Patterns, faults: &mut Vec<Fault>) {
    let shaped = |key: &str| key.strip_prefix("SHA256:").is_some_and(|digest| digest.len() == 43);
    if keys.names().is_none_or(|keys| !keys.iter().all(|key| shaped(key))) {
        faults.push(value.fault("\"ssh_key\" lists fingerprints as ssh-keygen -l prints them: SHA256:…"));
    }
}

/// Takes one text, or each of a list.
fn each(value: &Value<'_, '_>, faults: &mut Vec<Fault>, mut take: impl FnMut(&str) -> Result<(), String>) {
    for item in value.items() {
        match item.text() {
            Ok(text) => {
                if let Err(why) = take(text) {
                    faults.push(item.fault(why));
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
}

/// A list of nothing, or of exceptions alone, would never match: nobody means that.
fn something(value: &Value<'_, '_>, empty: bool, faults: &mut Vec<Fault>) {
    let told = faults.iter().any(|fault| {
        fault.span.as_ref().is_some_and(|span| value.span.start <= span.start && span.end <= value.span.end)
    });
    if empty && !told {
        let key = value.key;
        faults.push(
            value.fault(format!("\"{key}\" matches nothing; say what it matches before what it does not")),
        );
    }
}
