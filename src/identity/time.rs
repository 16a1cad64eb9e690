//! Times of certificates: read from DER, shown in UTC.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use rustls::pki_types::UnixTime;

use super::asn1::{Element, GENERALIZED_TIME, Malformed, UTC_TIME};

/// Reads a UTCTime or GeneralizedTime in the one form that certificates may use.
//
// "UTCTime values MUST be expressed in Greenwich Mean Time (Zulu) and MUST include seconds"
// <https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5.1>
pub(super) fn parse(element: &Element<'_>) -> Result<UnixTime, Malformed> {
    const WHAT: Malformed = Malformed("time");
    let (year, rest) = match (element.tag, element.value) {
        (UTC_TIME, [a, b, rest @ ..]) => {
            // "Where YY is greater than or equal to 50, the year SHALL be interpreted as 19YY"
            let short = two(*a, *b).ok_or(WHAT)?;
            (if short >= 50 { 1900 + short } else { 2000 + short }, rest)
        }
        (GENERALIZED_TIME, [a, b, c, d, rest @ ..]) => {
            let century = two(*a, *b).ok_or(WHAT)?;
            (century * 100 + two(*c, *d).ok_or(WHAT)?, rest)
        }
        _ => return Err(WHAT),
    };
    let [m1, m2, d1, d2, h1, h2, n1, n2, s1, s2, b'Z'] = rest else {
        return Err(WHAT);
    };
    let month = two(*m1, *m2).ok_or(WHAT)?;
    let day = two(*d1, *d2).ok_or(WHAT)?;
    let hour = two(*h1, *h2).ok_or(WHAT)?;
    let minute = two(*n1, *n2).ok_or(WHAT)?;
    let second = two(*s1, *s2).ok_or(WHAT)?;
    let in_range = year >= 1970
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return Err(WHAT);
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Ok(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
}

/// `2026-11-24T04:18:26Z`.
pub(super) fn display(time: UnixTime) -> String {
    let (days, rest) = (time.as_secs() / 86_400, time.as_secs() % 86_400);
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

fn two(tens: u8, ones: u8) -> Option<u64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| u64::from(tens - b'0') * 10 + u64::from(ones - b'0'))
}

fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, counted in years that begin in March.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tag: u8, value: &str) -> Option<u64> {
        parse(&Element { tag, value: value.as_bytes(), whole: &[] }).ok().map(|time| time.as_secs())
    }

    #[test]
    fn known_times() {
        assert_eq!(read(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, "261124041826Z"), Some(1_795_493_906));
        assert_eq!(read(GENERALIZED_TIME, "20000229235959Z"), Some(951_868_799));
        assert_eq!(read(GENERALIZED_TIME, "99991231235959Z"), Some(253_402_300_799));
    }

    #[test]
    fn refused_times() {
        for value in [
            "690101000000Z",
            "2611240418Z",
            "261124041826+0000",
            "261324041826Z",
            "250229000000Z",
            "26112404182Z",
        ] {
            assert_eq!(read(UTC_TIME, value), None, "{value}");
        }
        assert_eq!(read(GENERALIZED_TIME, "20261124041826.5Z"), None);
        assert_eq!(read(GENERALIZED_TIME, "00000101000000Z"), None);
    }

    #[test]
    fn every_day_is_shown_as_it_was_read() {
        for days in (0..2_932_897).step_by(17) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1_795_493_906));
        assert_eq!(display(time), "2026-11-24T04:18:26Z");
    }
}
