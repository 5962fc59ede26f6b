//! Times of the week: `Mon-Fri 07:00-19:00`, in the host's time zone or a named one.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Minutes of a day; as the end of a span, midnight.
const DAY: u16 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const HOW: &str = "write \"Mon-Fri 07:00-19:00\" or \"Sat,Sun 10:00-14:00 Europe/Berlin\"";

/// Some hours of some weekdays. Past midnight they belong to the day on which they begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes from midnight.
    from: u16,
    to: u16,
    /// `None`: the host's own.
    zone: Option<TimeZone>,
}

impl Hours {
    /// Reads `[DAYS] HH:MM-HH:MM [ZONE]`.
    ///
    /// # Errors
    /// What is wrong with it, and how it is written.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut words: Vec<&str> = text.split_ascii_whitespace().collect();
        let days = match words.first() {
            Some(word) if word.starts_with(|c: char| c.is_ascii_alphabetic()) => days(words.remove(0))?,
            _ => 0b111_1111,
        };
        let (span, zone) = match words.as_slice() {
            [span] => (*span, None),
            [span, zone] => (*span, Some(*zone)),
            _ => return Err(HOW.to_owned()),
        };
        let (from, to) = span.split_once('-').ok_or(HOW)?;
        let (from, to) = (minute(from)?, minute(to)?);
        if from == to || from == DAY {
            return Err(format!("\"{span}\" is no span of time; the whole day is 00:00-24:00"));
        }
        let zone = match zone {
            Some(name) => Some(TimeZone::get(name).map_err(|_| {
                format!("\"{name}\" is no time zone of this host; names are like Europe/Berlin or UTC")
            })?),
            None => None,
        };
        Ok(Self { days, from, to, zone })
    }

    /// Whether a moment lies in them, for a host in the time zone `local`.
    #[must_use]
    pub fn cover(&self, moment: Timestamp, local: &TimeZone) -> bool {
        let there = moment.to_zoned(self.zone.as_ref().unwrap_or(local).clone());
        let today = u8::try_from(there.weekday().to_monday_zero_offset()).unwrap_or_default();
        let minute = u16::try_from(there.hour()).unwrap_or_default() * 60
            + u16::try_from(there.minute()).unwrap_or_default();
        let on = |day: u8| self.days & (1 << day) != 0;
        if self.from < self.to {
            on(today) && (self.from..self.to).contains(&minute)
        } else {
            (on(today) && minute >= self.from) || (on((today + 6) % 7) && minute < self.to)
        }
    }
}

/// `Mon`, `Mon-Fri`, `Mon,Wed-Fri`; a range may go over Sunday.
fn days(text: &str) -> Result<u8, String> {
    let day = |name: &str| {
        let place = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
        place.ok_or_else(|| format!("\"{name}\" is no day; days are {}", "Mon Tue Wed Thu Fri Sat Sun"))
    };
    let mut days = 0;
    for part in text.split(',') {
        let (from, to) = match part.split_once('-') {
            Some((from, to)) => (day(from)?, day(to)?),
            None => (day(part)?, day(part)?),
        };
        let mut next = from;
        loop {
            days |= 1 << next;
            if next == to {
                break;
            }
            next = (next + 1) % 7;
        }
    }
    Ok(days)
}

fn minute(text: &str) -> Result<u16, String> {
    let two = |digits: &str| {
        let good = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| good)
    };
    text.split_once(':')
        .and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)))
        .filter(|(hour, minute)| (*hour < 24 && *minute < 60) || (*hour, *minute) == (24, 0))
        .map(|(hour, minute)| hour * 60 + minute)
        .ok_or_else(|| format!("\"{text}\" is no time of day; {HOW}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(hours: &str, moment: &str) -> bool {
        Hours::read(hours).unwrap().cover(moment.parse().unwrap(), &TimeZone::UTC)
    }

    #[test]
    fn a_span_has_its_first_minute_and_not_its_last() {
        // The 23rd of November 2026 is a Monday.
        for (hours, moment) in [
            ("Mon-Fri 07:00-19:00", "2026-11-23T07:00:00Z"),
            ("mon-fri 07:00-19:00", "2026-11-27T18:59:59Z"),
            ("07:00-19:00", "2026-11-29T12:00:00Z"),
            ("Mon 00:00-24:00", "2026-11-23T23:59:59Z"),
            ("Fri-Mon 00:00-24:00", "2026-11-29T12:00:00Z"),
            ("Wed,Sun 11:00-13:00", "2026-11-25T12:00:00Z"),
        ] {
            assert!(covers(hours, moment), "{hours} {moment}");
        }
        for (hours, moment) in [
            ("Mon-Fri 07:00-19:00", "2026-11-23T06:59:59Z"),
            ("Mon-Fri 07:00-19:00", "2026-11-23T19:00:00Z"),
            ("Mon-Fri 07:00-19:00", "2026-11-28T12:00:00Z"),
            ("Fri-Mon 00:00-24:00", "2026-11-24T00:00:00Z"),
        ] {
            assert!(!covers(hours, moment), "{hours} {moment}");
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        for (moment, inside) in [
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T05:59:00Z", true),
            ("2026-11-28T06:00:00Z", false),
            ("2026-11-28T22:30:00Z", false),
            ("2026-11-27T05:00:00Z", false),
        ] {
            assert_eq!(covers("Fri 22:00-06:00", moment), inside, "{moment}");
        }
    }

    #[test]
    fn a_zone_of_its_own_has_its_own_summer() {
        for (moment, inside) in
            [("2026-07-01T05:30:00Z", true), ("2026-12-01T05:30:00Z", false), ("2026-12-01T06:30:00Z", true)]
        {
            assert_eq!(covers("07:00-19:00 Europe/Berlin", moment), inside, "{moment}");
        }
    }

    #[test]
    fn what_is_no_time_is_told() {
        for bad in [
            "",
            "Mon",
            "Mon-Fri",
            "7-19",
            "7:00-19:00",
            "07:00",
            "07:00-07:00",
            "24:00-07:00",
            "25:00-26:00",
            "07:60-08:00",
            "07:00-24:01",
            "Moon 07:00-19:00",
            "Mon-Fri 07:00-19:00 Mars/Base",
            "Mon Tue 07:00-08:00",
            "Mon- 07:00-19:00",
            "Mon-Fri 07:00-19:00 UTC now",
            "+7:00-19:00",
        ] {
            assert!(Hours::read(bad).is_err(), "{bad}");
        }
    }
}
