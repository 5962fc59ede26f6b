//! Points in time as ssh-keygen writes them: `YYYYMMDD[HHMM[SS]]Z`, always UTC here.

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Reads `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, followed by `Z`, as seconds since 1970.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = text.strip_suffix(['Z', 'z'])?;
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let field = |from: usize, to: usize| digits.get(from..to).map_or(Some(0), |d| d.parse::<u64>().ok());
    let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
    let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
    let valid = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    valid.then(|| days_before(year, month, day) * DAY + hour * 3600 + minute * 60 + second)
}

fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let days_of = |year| if is_leap(year) { 366 } else { 365 };
    (1970..year).map(days_of).sum::<u64>() + (1..month).map(|m| days_in(year, m)).sum::<u64>() + day - 1
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        // By `date -u -d @N +%Y%m%d%H%M%SZ`.
        for (text, unix) in [
            ("19700101000000Z", 0),
            ("20000229235959Z", 951_868_799),
            ("20261122081259Z", 1_795_335_179),
            ("20380119031408Z", 2_147_483_648),
            ("21000301000000Z", 4_107_542_400),
            ("99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(parse(text), Some(unix), "{text}");
        }
        assert_eq!(parse("20261122Z"), parse("20261122000000Z"));
        assert_eq!(parse("202611220812Z"), parse("20261122081200Z"));
    }

    #[test]
    fn what_is_no_time() {
        for bad in [
            "",
            "Z",
            "20261122",
            "2026112208Z",
            "20261322Z",
            "20260230Z",
            "21000229Z",
            "20261122240000Z",
            "19691231Z",
            "+2261122Z",
            "20261122 Z",
            "20261122UTC",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
