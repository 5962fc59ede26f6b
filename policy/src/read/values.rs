//! Single values of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use countersign_protocol::text::is_active;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use toml::de::DeValue;
use url::Url;

use crate::table::{Table, Value, kind};
use crate::{Fault, Hook, MAX_WAIT, MIN_WAIT, Unenrolled};

/// Longest name of a host or a rule in bytes.
const MAX_NAME: usize = 64;

/// Most words of a program's command line.
const MAX_WORDS: usize = 16;
/// Longest word in bytes.
const MAX_WORD: usize = 1024;

/// An origin, written the one way in which signatures name it.
pub(super) fn origin(value: &Value<'_, '_>) -> Result<String, Fault> {
    let text = value.text()?;
    let url = Url::parse(text).map_err(|_| {
        let like = "https://push.example.com or https://push.example.com:8443";
        value.fault(format!("\"{text}\" is no address: one looks like {like}"))
    })?;
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !bare || url.host_str().is_none_or(str::is_empty) {
        return Err(value.fault("the address is only https://NAME or https://NAME:PORT"));
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err(value.fault("plain http is for this host only; write https://"));
        }
        _ => return Err(value.fault("the address begins with https://")),
    }
    Ok(url.origin().ascii_serialization())
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(super) fn path(value: &Value<'_, '_>) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(value.text()?);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(value.fault(format!("\"{}\" has to be an absolute path", value.key)))
    }
}

pub(super) fn hook(value: &Value<'_, '_>) -> Result<Hook, Fault> {
    const HOW: &str = "\"hook\" is a list such as [\"/usr/local/sbin/told\", \"argument\"]";
    let words = match value.value.as_array() {
        Some(array) if (1..=MAX_WORDS).contains(&array.len()) => value.items(),
        Some(_) => return Err(value.fault(format!("{HOW} of 1 to {MAX_WORDS}"))),
        None => return Err(value.fault(HOW)),
    };
    let mut texts = Vec::new();
    for word in words {
        let text = word.text()?;
        if text.len() > MAX_WORD || text.contains('\0') {
            return Err(
                word.fault(format!("a word of \"hook\" is at most {MAX_WORD} bytes, none of them NUL"))
            );
        }
        texts.push(text.to_owned());
    }
    let mut texts = texts.into_iter();
    let path = PathBuf::from(texts.next().unwrap_or_default());
    match path.is_absolute() {
        true => Ok(Hook { path, arguments: texts.collect() }),
        false => Err(value.fault("the first word of \"hook\" is the absolute path of a program")),
    }
}

pub(super) fn name(value: &Value<'_, '_>) -> Result<String, Fault> {
    let name = value.text()?;
    if name.trim().is_empty() || name.len() > MAX_NAME || name.chars().any(is_active) {
        return Err(value.fault(format!("a name is 1 to {MAX_NAME} bytes of plain text")));
    }
    Ok(name.to_owned())
}

pub(super) fn wait(value: &Value<'_, '_>) -> Result<Duration, Fault> {
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

pub(super) fn unenrolled(value: &Value<'_, '_>) -> Result<Unenrolled, Fault> {
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
            table.finish(&[], &mut unknown);
            match unknown.pop() {
                Some(fault) => Err(fault),
                None => until.map(Unenrolled::SkipUntil),
            }
        }
        other => Err(value.fault(format!("{HOW}, not {}", kind(other)))),
    }
}

/// The first second of a day, UTC.
pub(super) fn midnight(value: &Value<'_, '_>) -> Result<u64, Fault> {
    let fault = || value.fault(format!("\"{}\" is a day such as 2027-03-01", value.key));
    let datetime = value.value.as_datetime().ok_or_else(fault)?;
    let (Some(date), None, None) = (datetime.date, datetime.time, datetime.offset) else {
        return Err(fault());
    };
    let number = |part: u8| i8::try_from(part).map_err(|_| fault());
    let year = i16::try_from(date.year).map_err(|_| fault())?;
    let day = Date::new(year, number(date.month)?, number(date.day)?).map_err(|_| fault())?;
    let midnight = day.to_zoned(TimeZone::UTC).map_err(|_| fault())?;
    u64::try_from(midnight.timestamp().as_second()).map_err(|_| fault())
}
