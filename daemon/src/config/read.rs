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
    let app = top.get("app").and_then(|value| taken(origin(&value), faults));
    let host_name = top.get("host_name").and_then(|value| taken(host_name(&value), faults));
    let default = top.get("default").and_then(|value| taken(value.table("[default]"), faults));
    let default = default.unwrap_or_else(|| Table::new(&EMPTY, "[default]"));
    let (default, keys) = rule(default, &top.known(), faults);
    top.finish(Some(("under [default]", &keys)), faults);
    Some(Config { server: server?, server_ca, app, host_name, default })
}

static EMPTY: std::sync::LazyLock<DeTable<'static>> = std::sync::LazyLock::new(DeTable::new);

/// A rule, and the keys that it may have. `top` are those of the whole.
fn rule(mut table: Table<'_, '_>, top: &[&str], faults: &mut Vec<Fault>) -> (Rule, Vec<&'static str>) {
    let mut rule = Rule {
        name: "default".into(),
        then: Then::Approve,
        confirm: Confirm::Code,
        without_prompt: WithoutPrompt::Tap,
        wait: Duration::from_secs(60),
        // They exist only where root has made them, for the day on which no phone is there.
        codes: vec![Factor::Recovery],
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
    let keys = table.known();
    table.finish(Some(("above [default]", top)), faults);
    (rule, keys)
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
            table.finish(None, &mut unknown);
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

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "server = \"https://push.example.com\"\n";

    fn faults(source: &str) -> Vec<String> {
        read(source).unwrap_err().iter().map(|fault| fault.line("c", source)).collect()
    }

    #[test]
    fn one_line_is_a_policy_and_the_default_is_to_ask() {
        let config = read(SERVER).unwrap();
        assert_eq!(config.server, "https://push.example.com");
        assert_eq!(
            config.default,
            Rule {
                name: "default".into(),
                then: Then::Approve,
                confirm: Confirm::Code,
                without_prompt: WithoutPrompt::Tap,
                wait: Duration::from_secs(60),
                codes: vec![Factor::Recovery],
                offline: vec![],
                unenrolled: Unenrolled::Deny,
                ask: Ask::User,
            }
        );
    }

    #[test]
    fn every_key_is_read() {
        let config = read(
            "server = \"http://127.0.0.1:8443/\"\nserver_ca = \"/etc/ca.pem\"\napp = \"https://Approve.example.com/\"\n\
             host_name = \"db-1\"\n[default]\n\
             then = \"observe\"\nconfirm = \"tap\"\nwithout_prompt = \"refuse\"\nwait = \"2m\"\n\
             codes = [\"recovery\"]\noffline = [\"recovery\"]\nunenrolled = { skip_until = 2027-03-01 }\n\
             ask = \"caller\"\n",
        )
        .unwrap();
        assert_eq!(config.server, "http://127.0.0.1:8443");
        assert_eq!(config.server_ca, Some("/etc/ca.pem".into()));
        assert_eq!(config.app.as_deref(), Some("https://approve.example.com"));
        assert_eq!(config.host_name.as_deref(), Some("db-1"));
        let rule = config.default;
        assert_eq!((rule.then, rule.confirm, rule.ask), (Then::Observe, Confirm::Tap, Ask::Caller));
        assert_eq!((rule.without_prompt, rule.wait), (WithoutPrompt::Refuse, Duration::from_secs(120)));
        assert_eq!((rule.codes, rule.offline), (vec![Factor::Recovery], vec![Factor::Recovery]));
        assert_eq!(rule.unenrolled, Unenrolled::SkipUntil(1_803_859_200));
    }

    #[test]
    fn the_example_is_valid_and_says_the_defaults() {
        let example = include_str!("../../countersign.example.toml");
        let config = read(example).unwrap();
        assert_eq!(config.default.then, Then::Approve);
        assert_eq!(config.default.codes, [Factor::Recovery]);
    }

    #[test]
    fn all_faults_of_a_file_are_told_each_with_its_place() {
        let source = "servr = \"https://x\"\n[default]\nthen = \"aprove\"\n  wait = \"never\"\ncodes = [\"recovery\", \
                      \"totp\", \"recovery\"]\nofline = []\nask = 1\n[[rule]]\nname = \"x\"\n";
        assert_eq!(
            faults(source),
            [
                "c: there is no \"server\"; add: server = \"https://push.example.com\"",
                "c:1:1: \"servr\" is no key of the configuration; did you mean \"server\"?",
                "c:3:8: \"aprove\" is no value of \"then\"; did you mean \"approve\"?",
                "c:4:10: \"never\" is no time; write \"60s\" or \"2m\"",
                "c:5:22: \"totp\" is no value of \"codes\"; there is recovery",
                "c:5:30: this stands in the list twice",
                "c:6:1: \"ofline\" is no key of [default]; did you mean \"offline\"?",
                "c:7:7: \"ask\" has to be a text in quotes, not a number",
                "c:8:3: \"rule\" is no key of the configuration; there is server, server_ca, app, host_name, default",
            ]
        );
    }

    #[test]
    fn a_key_of_another_table_is_told_where_it_belongs() {
        let source =
            format!("{SERVER}confirm = \"tap\"\n[default]\nserver_ca = \"/etc/ca.pem\"\nserverca = 1\n");
        assert_eq!(
            faults(&source),
            [
                "c:2:1: \"confirm\" is no key of the configuration; it belongs under [default]",
                "c:4:1: \"server_ca\" is no key of [default]; it belongs above [default]",
                "c:5:1: \"serverca\" is no key of [default]; there is then, confirm, without_prompt, wait, \
                 unenrolled, ask, codes, offline",
            ]
        );
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_place() {
        let told = faults("server = \"https://x\"\n[default\nthen = ]\n");
        assert!(told[0].starts_with("c:2:"), "{told:?}");
        let twice = faults(&format!("{SERVER}{SERVER}"));
        assert!(twice[0].starts_with("c:2:1: duplicate key"), "{twice:?}");
    }

    #[test]
    fn later_factors_are_unknown_and_not_ignored() {
        for factor in ["lease", "phone-code", "totp", "allow"] {
            let source = format!("{SERVER}[default]\noffline = [\"{factor}\"]\n");
            assert_eq!(
                faults(&source),
                [format!("c:3:12: \"{factor}\" is no value of \"offline\"; there is recovery")]
            );
        }
    }

    #[test]
    fn only_an_origin_is_a_server_and_plain_http_only_here() {
        for good in [
            ("https://a.example", "https://a.example"),
            ("https://A.example:443/", "https://a.example"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
            ("http://localhost:1", "http://localhost:1"),
            ("http://[::1]:1", "http://[::1]:1"),
        ] {
            assert_eq!(read(&format!("server = \"{}\"", good.0)).unwrap().server, good.1);
        }
        for bad in [
            "push.example.com",
            "http://push.example.com",
            "http://localhost.example.com",
            "ftp://a",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u@a",
            "https://u:p@a",
            "https://",
            "",
        ] {
            assert!(read(&format!("server = \"{bad}\"")).is_err(), "{bad}");
        }
    }

    #[test]
    fn waits_and_days_have_their_limits() {
        let with = |line: &str| read(&format!("{SERVER}[default]\n{line}\n"));
        for bad in ["4s", "601s", "11m", "-5s", "1h", "60", "s", "99999999999s", "4294967295m"] {
            assert!(with(&format!("wait = \"{bad}\"")).is_err(), "{bad}");
        }
        for bad in ["2027-02-30", "2027-03-01T00:00:00Z", "\"2027-03-01\"", "1969-01-01", "12:00:00"] {
            assert!(with(&format!("unenrolled = {{ skip_until = {bad} }}")).is_err(), "{bad}");
        }
        for bad in ["\"allow\"", "{}", "{ skip_until = 2027-03-01, x = 1 }", "true"] {
            assert!(with(&format!("unenrolled = {bad}")).is_err(), "{bad}");
        }
        let rule = with("wait = \"10m\"").unwrap().default;
        assert_eq!(rule.wait_for("sudo"), Duration::from_secs(600));
        assert_eq!(rule.wait_for("sshd"), Duration::from_secs(120));
        assert_eq!(rule.wait_for("anything"), Duration::from_secs(120));
    }
}
