//! From the configuration's text to its types, or to all its faults.

use super::table::{Table, Value, kind};
use super::{Ask, Config, Confirm, Factor, Fault, MAX_WAIT, MIN_WAIT, Rule, Then, Unenrolled, WithoutPrompt};
use countersign_protocol::text::is_active;
use reqwest::Url;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// Longest name of a host in bytes.
const MAX_HOST_NAME: usize = 64;

const THEN: &[(&str, Then)] =
    &[("approve", Then::Approve), ("observe", Then::Observe), ("skip", Then::Skip), ("deny", Then::Deny)];
const CONFIRM: &[(&str, Confirm)] = &[("code", Confirm::Code), ("tap", Confirm::Tap)];
const WITHOUT_PROMPT: &[(&str, WithoutPrompt)] =
    &[("tap", WithoutPrompt::Tap), ("refuse", WithoutPrompt::Refuse)];
const FACTORS: &[(&str, Factor)] = &[("recovery", Factor::Recovery)];
const ASK: &[(&str, Ask)] = &[("user", Ask::User), ("caller", Ask::Caller)];

/// Reads a configuration.
///
/// # Errors
/// All faults, in the order of their places.
pub fn read(source: &str) -> Result<Config, Vec<Fault>> {
    let (document, errors) = DeTable::parse_recoverable(source);
    if !errors.is_empty() {
        // What does not parse has no keys to judge.
        return Err(errors
            .iter()
            .map(|error| Fault {
                span: error.span(),
                text: error.message().lines().collect::<Vec<_>>().join("; "),
            })
            .collect());
    }
    let mut faults = Vec::new();
    let config = config(document.get_ref(), &mut faults);
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        _ => {
            faults.sort_by_key(|fault| fault.span.as_ref().map_or(0, |span| span.start));
            Err(faults)
        }
    }
}

fn config(document: &DeTable<'_>, faults: &mut Vec<Fault>) -> Option<Config> {
    let mut top = Table::new(document, "the configuration");
    let server = match top.get("server") {
        Some(value) => taken(origin(&value), faults),
        None => {
            faults.push(Fault::whole("there is no \"server\"; add: server = \"https://push.example.com\""));
            None
        }
    };
    let server_ca = top.get("server_ca").and_then(|value| taken(path(&value), faults));
    let host_name = top.get("host_name").and_then(|value| taken(host_name(&value), faults));
    let default = top.get("default").and_then(|value| taken(value.table("[default]"), faults));
    let default = rule(default.unwrap_or_else(|| Table::new(&EMPTY, "[default]")), faults);
    top.finish(faults);
    Some(Config { server: server?, server_ca, host_name, default })
}

static EMPTY: std::sync::LazyLock<DeTable<'static>> = std::sync::LazyLock::new(DeTable::new);

fn rule(mut table: Table<'_, '_>, faults: &mut Vec<Fault>) -> Rule {
    let mut rule = Rule {
        name: "default".into(),
        then: Then::Approve,
        confirm: Confirm::Code,
        without_prompt: WithoutPrompt::Tap,
        wait: Duration::from_secs(60),
        codes: Vec::new(),
        offline: Vec::new(),
        unenrolled: Unenrolled::Deny,
        ask: Ask::User,
    };
    set(&mut rule.then, table.get("then").map(|value| value.word(THEN)), faults);
    set(&mut rule.confirm, table.get("confirm").map(|value| value.word(CONFIRM)), faults);
    set(
        &mut rule.without_prompt,
        table.get("without_prompt").map(|value| value.word(WITHOUT_PROMPT)),
        faults,
    );
    set(&mut rule.wait, table.get("wait").map(|value| wait(&value)), faults);
    set(&mut rule.unenrolled, table.get("unenrolled").map(|value| unenrolled(&value)), faults);
    set(&mut rule.ask, table.get("ask").map(|value| value.word(ASK)), faults);
    for (key, list) in [("codes", &mut rule.codes), ("offline", &mut rule.offline)] {
        match table.get(key).map(|value| value.words(FACTORS)) {
            Some(Ok(factors)) => *list = factors,
            Some(Err(more)) => faults.extend(more),
            None => {}
        }
    }
    table.finish(faults);
    rule
}

fn set<T>(place: &mut T, value: Option<Result<T, Fault>>, faults: &mut Vec<Fault>) {
    if let Some(value) = value.and_then(|value| taken(value, faults)) {
        *place = value;
    }
}

fn taken<T>(value: Result<T, Fault>, faults: &mut Vec<Fault>) -> Option<T> {
    value.map_err(|fault| faults.push(fault)).ok()
}

/// An origin, written the one way in which signatures name it.
fn origin(value: &Value<'_, '_>) -> Result<String, Fault> {
    let text = value.text()?;
    let url = Url::parse(text).map_err(|error| value.fault(format!("\"{text}\" is no address: {error}")))?;
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !bare || url.host_str().is_none_or(str::is_empty) {
        return Err(value.fault("the server's address is only https://NAME or https://NAME:PORT"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(value.fault("plain http is for a server on this host only; write https://"));
        }
        _ => return Err(value.fault("the server's address begins with https://")),
    }
    Ok(url.origin().ascii_serialization())
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn path(value: &Value<'_, '_>) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(value.text()?);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(value.fault(format!("\"{}\" has to be an absolute path", value.key)))
    }
}

fn host_name(value: &Value<'_, '_>) -> Result<String, Fault> {
    let name = value.text()?;
    if name.trim().is_empty() || name.len() > MAX_HOST_NAME || name.chars().any(is_active) {
        return Err(value.fault(format!("a host's name is 1 to {MAX_HOST_NAME} bytes of plain text")));
    }
    Ok(name.to_owned())
}

fn wait(value: &Value<'_, '_>) -> Result<Duration, Fault> {
    let text = value.text()?;
    let seconds = |digits: &str, factor: u64| {
        digits.parse::<u32>().ok().map(|number| u64::from(number).saturating_mul(factor))
    };
    let seconds = match (text.strip_suffix('s'), text.strip_suffix('m')) {
        (Some(digits), _) => seconds(digits, 1),
        (_, Some(digits)) => seconds(digits, 60),
        _ => None,
    };
    let wait = seconds
        .map(Duration::from_secs)
        .ok_or_else(|| value.fault(format!("\"{text}\" is no time; write \"60s\" or \"2m\"")))?;
    if !(MIN_WAIT..=MAX_WAIT).contains(&wait) {
        let (least, most) = (MIN_WAIT.as_secs(), MAX_WAIT.as_secs());
        return Err(value.fault(format!("\"wait\" is between {least}s and {most}s")));
    }
    Ok(wait)
}

fn unenrolled(value: &Value<'_, '_>) -> Result<Unenrolled, Fault> {
    const HOW: &str = "\"unenrolled\" is \"deny\" or { skip_until = 2027-03-01 }";
    match value.value {
        DeValue::String(_) => {
            value.word(&[("deny", Unenrolled::Deny)]).map_err(|fault| Fault { text: HOW.into(), ..fault })
        }
        DeValue::Table(table) => {
            let mut table = Table::new(table, "\"unenrolled\"");
            let until =
                table.get("skip_until").ok_or_else(|| value.fault(HOW)).and_then(|until| midnight(&until));
            let mut unknown = Vec::new();
            table.finish(&mut unknown);
            match unknown.pop() {
                Some(fault) => Err(fault),
                None => until.map(Unenrolled::SkipUntil),
            }
        }
        other => Err(value.fault(format!("{HOW}, not {}", kind(other)))),
    }
}

/// The first second of a day, UTC.
fn midnight(value: &Value<'_, '_>) -> Result<u64, Fault> {
    let fault = || value.fault(format!("\"{}\" is a day such as 2027-03-01", value.key));
    let datetime = value.value.as_datetime().ok_or_else(fault)?;
    let (Some(date), None, None) = (datetime.date, datetime.time, datetime.offset) else {
        return Err(fault());
    };
    let month = time::Month::try_from(date.month).map_err(|_| fault())?;
    let day = time::Date::from_calendar_date(date.year.into(), month, date.day).map_err(|_| fault())?;
    u64::try_from(day.midnight().assume_utc().unix_timestamp()).map_err(|_| fault())
}
