//! The ceiling of leases: `"8h"`, `{ up_to = "8h", uses = 20 }`, or `"none"` where `[default]` has one.

use std::time::Duration;

use toml::de::DeValue;

use crate::table::{Table, Value, kind};
use crate::{Fault, LEASE, Lease, MAX_LEASE_USES};

const HOW: &str = "\"lease\" is a time such as \"8h\", { up_to = \"8h\", uses = 20 }, or \"none\"";

pub(super) fn read(value: &Value<'_, '_>) -> Result<Option<Lease>, Fault> {
    match value.value {
        DeValue::String(text) if text == "none" => Ok(None),
        DeValue::String(_) => Ok(Some(Lease { up_to: time(value)?, uses: None })),
        DeValue::Table(table) => {
            let mut table = Table::new(table, "\"lease\"");
            let up_to = table.get("up_to").ok_or_else(|| value.fault(HOW)).and_then(|time_| time(&time_));
            let uses = table.get("uses").map(|uses| count(&uses)).transpose();
            let mut unknown = Vec::new();
            table.finish(&[], &mut unknown);
            match unknown.pop() {
                Some(fault) => Err(fault),
                None => Ok(Some(Lease { up_to: up_to?, uses: uses? })),
            }
        }
        other => Err(value.fault(format!("{HOW}, not {}", kind(other)))),
    }
}

fn time(value: &Value<'_, '_>) -> Result<Duration, Fault> {
    let text = value.text()?;
    let seconds = |digits: &str, factor: u64| {
        digits.parse::<u32>().ok().map(|number| Duration::from_secs(u64::from(number).saturating_mul(factor)))
    };
    let time = match (text.strip_suffix('m'), text.strip_suffix('h')) {
        (Some(digits), _) => seconds(digits, 60),
        (_, Some(digits)) => seconds(digits, 3600),
        _ => None,
    };
    let time = time.ok_or_else(|| value.fault(format!("\"{text}\" is no time; {HOW}")))?;
    if !LEASE.contains(&time) {
        return Err(value.fault("a lease is between 1m and 8h"));
    }
    Ok(time)
}

fn count(value: &Value<'_, '_>) -> Result<u32, Fault> {
    let number =
        value.value.as_integer().and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
    number
        .filter(|number| (1..=MAX_LEASE_USES).contains(number))
        .ok_or_else(|| value.fault(format!("\"uses\" is a number from 1 to {MAX_LEASE_USES}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn of(lease: &str) -> Result<Option<Lease>, String> {
        let text = format!("server = \"https://push.example.com\"\n[default]\nlease = {lease}\n");
        read(&text).map(|config| config.default.lease).map_err(|faults| format!("{faults:?}"))
    }

    #[test]
    fn a_ceiling_is_a_time_with_or_without_uses() {
        let lease = |minutes: u64, uses| Ok(Some(Lease { up_to: Duration::from_secs(minutes * 60), uses }));
        assert_eq!(of("\"8h\""), lease(480, None));
        assert_eq!(of("\"1m\""), lease(1, None));
        assert_eq!(of("{ up_to = \"90m\", uses = 20 }"), lease(90, Some(20)));
        assert_eq!(of("{ up_to = \"1h\" }"), lease(60, None));
        assert_eq!(of("\"none\""), Ok(None));
    }

    #[test]
    fn what_is_none_is_a_fault() {
        for bad in [
            "\"\"",
            "\"0m\"",
            "\"30s\"",
            "\"9h\"",
            "\"481m\"",
            "\"-1h\"",
            "\"99999999999h\"",
            "8",
            "true",
            "[]",
            "{}",
            "{ uses = 3 }",
            "{ up_to = \"1h\", uses = 0 }",
            "{ up_to = \"1h\", uses = 1001 }",
            "{ up_to = \"1h\", uses = \"3\" }",
            "{ up_to = \"1h\", use = 3 }",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rule_takes_it_from_the_default_unless_it_says_none() {
        let text = "server = \"https://push.example.com\"\n[default]\nlease = \"1h\"\n\
                    [[rule]]\nname = \"a\"\nthen = \"approve\"\n\
                    [[rule]]\nname = \"b\"\nthen = \"approve\"\nlease = \"none\"\n";
        let config = read(text).unwrap();
        let has: Vec<_> = config.rules.iter().map(|rule| rule.lease.is_some()).collect();
        assert_eq!(has, [true, false]);
    }

    #[test]
    fn a_lease_is_no_code() {
        let text = "server = \"https://push.example.com\"\n[default]\ncodes = [\"lease\"]\n";
        assert!(read(text).is_err());
    }
}
