//! Dates, times and durations as text.
//!
//! A datetime gets the text that graphiti writes to FalkorDB and compares there as text: `2026-01-01T00:00:00+00:00`, or with six
//! digits of fraction. All other types get the text that Neo4j's own `toString()` prints (compared with 5.26.12).
//!
//! Years outside of 0 to 9999 carry a sign, as in ISO 8601 and Neo4j: `+10000-01-01…`, `-0001-01-01…` (year 0 is 1 BC). Datetimes
//! with such a year do not sort by time as text.

use super::literal::write_display;

const DAY_SECONDS: i64 = 86_400;
const SECOND_NANOSECONDS: i64 = 1_000_000_000;

/// The days of Neo4j's calendar, from year −999,999,999 to year 999,999,999.
const DAYS: std::ops::RangeInclusive<i64> = -365_243_219_162..=365_241_780_471;

/// Neo4j's widest offset, in seconds.
const WIDEST_OFFSET: i32 = 18 * 3600;

/// Whether Neo4j's calendar has this day.
pub(super) fn is_day(days: i64) -> bool {
    DAYS.contains(&days)
}

/// Whether Neo4j's calendar has this instant.
pub(super) fn is_instant(seconds: i64, nanoseconds: u32) -> bool {
    is_day(seconds.div_euclid(DAY_SECONDS)) && i64::from(nanoseconds) < SECOND_NANOSECONDS
}

/// Whether a day has this time.
pub(super) fn is_time_of_day(nanoseconds: i64) -> bool {
    (0..DAY_SECONDS * SECOND_NANOSECONDS).contains(&nanoseconds)
}

/// Whether Neo4j takes this offset.
pub(super) fn is_offset(seconds: i32) -> bool {
    (-WIDEST_OFFSET..=WIDEST_OFFSET).contains(&seconds)
}

/// Appends an instant in UTC, and returns whether nanoseconds were cut. The readers of the cache support only microseconds.
pub(super) fn write_datetime(out: &mut Vec<u8>, seconds: i64, nanoseconds: u32) -> bool {
    write_date(out, seconds.div_euclid(DAY_SECONDS));
    out.push(b'T');
    write_clock(out, seconds.rem_euclid(DAY_SECONDS));
    let microseconds = nanoseconds / 1000;
    if microseconds != 0 {
        out.push(b'.');
        write_digits(out, u64::from(microseconds), 6);
    }
    out.extend_from_slice(b"+00:00");
    !nanoseconds.is_multiple_of(1000)
}

/// Appends a date of the calendar.
pub(super) fn write_date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    write_year(out, year);
    out.push(b'-');
    write_digits(out, month, 2);
    out.push(b'-');
    write_digits(out, day, 2);
}

/// Appends a time of day, with as many digits of fraction as it needs.
pub(super) fn write_time_of_day(out: &mut Vec<u8>, nanoseconds: i64) {
    write_clock(out, nanoseconds / SECOND_NANOSECONDS);
    write_fraction(out, (nanoseconds % SECOND_NANOSECONDS).unsigned_abs());
}

/// Appends an offset: `Z` for zero; seconds only if they are not zero.
pub(super) fn write_offset(out: &mut Vec<u8>, seconds: i32) {
    if seconds == 0 {
        return out.push(b'Z');
    }
    out.push(if seconds < 0 { b'-' } else { b'+' });
    let distance = u64::from(seconds.unsigned_abs());
    write_digits(out, distance / 3600, 2);
    out.push(b':');
    write_digits(out, distance / 60 % 60, 2);
    if distance % 60 != 0 {
        out.push(b':');
        write_digits(out, distance % 60, 2);
    }
}

/// Appends a duration as Neo4j prints it: years are split from months and hours from seconds, days stay whole, and each part has
/// its own sign.
pub(super) fn write_duration(out: &mut Vec<u8>, months: i64, days: i64, seconds: i64, nanoseconds: i64) {
    // Neo4j keeps −0.5 s as −1 s and +500,000,000 ns, and prints the sum.
    let total = i128::from(seconds) * i128::from(SECOND_NANOSECONDS) + i128::from(nanoseconds);
    let whole = total / i128::from(SECOND_NANOSECONDS);
    let fraction = (total % i128::from(SECOND_NANOSECONDS)).unsigned_abs() as u64;
    if months == 0 && days == 0 && total == 0 {
        return out.extend_from_slice(b"PT0S");
    }
    out.push(b'P');
    write_part(out, months / 12, b'Y');
    write_part(out, months % 12, b'M');
    write_part(out, days, b'D');
    if total == 0 {
        return;
    }
    out.push(b'T');
    write_part(out, whole / 3600, b'H');
    write_part(out, whole / 60 % 60, b'M');
    let seconds = whole % 60;
    if seconds == 0 && fraction == 0 {
        return;
    }
    if seconds == 0 && total < 0 {
        out.push(b'-');
    }
    write_display(out, seconds);
    write_fraction(out, fraction);
    out.push(b'S');
}

fn write_part(out: &mut Vec<u8>, amount: impl Into<i128>, unit: u8) {
    let amount = amount.into();
    if amount != 0 {
        write_display(out, amount);
        out.push(unit);
    }
}

/// Returns year, month and day of a day number in the proleptic Gregorian calendar: Howard Hinnant's `civil_from_days`, which
/// counts years from March so that the leap day is the last day.
fn civil(days: i64) -> (i64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month.unsigned_abs(), day.unsigned_abs())
}

fn write_year(out: &mut Vec<u8>, year: i64) {
    match year {
        ..0 => out.push(b'-'),
        0..=9999 => {}
        10_000.. => out.push(b'+'),
    }
    if year.unsigned_abs() > 9999 {
        write_display(out, year.unsigned_abs());
    } else {
        write_digits(out, year.unsigned_abs(), 4);
    }
}

fn write_clock(out: &mut Vec<u8>, seconds_of_day: i64) {
    let seconds = seconds_of_day.unsigned_abs();
    write_digits(out, seconds / 3600, 2);
    out.push(b':');
    write_digits(out, seconds / 60 % 60, 2);
    out.push(b':');
    write_digits(out, seconds % 60, 2);
}

/// Appends a point and nanoseconds without the zeros at the end, or nothing for zero.
fn write_fraction(out: &mut Vec<u8>, nanoseconds: u64) {
    if nanoseconds == 0 {
        return;
    }
    out.push(b'.');
    write_digits(out, nanoseconds, 9);
    let kept = out.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
    out.truncate(kept);
}

/// Appends a number with leading zeros; `width` is wide enough for it and at most 9.
fn write_digits(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let mut digits = [b'0'; 9];
    for digit in digits[..width].iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[..width]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn datetimes_are_what_graphiti_writes() {
        for (seconds, nanoseconds, written, cut) in [
            (1_767_225_600, 0, "2026-01-01T00:00:00+00:00", false),
            (1_767_225_600, 1_000_000, "2026-01-01T00:00:00.001000+00:00", false),
            (1_767_225_600, 999, "2026-01-01T00:00:00+00:00", true),
            (-1, 999_999_999, "1969-12-31T23:59:59.999999+00:00", true),
            (951_782_400, 0, "2000-02-29T00:00:00+00:00", false),
            (-62_167_219_200, 0, "0000-01-01T00:00:00+00:00", false),
            (-62_167_219_201, 0, "-0001-12-31T23:59:59+00:00", false),
            (253_402_300_799, 0, "9999-12-31T23:59:59+00:00", false),
            (253_402_300_800, 0, "+10000-01-01T00:00:00+00:00", false),
        ] {
            assert_eq!(text(|out| assert_eq!(write_datetime(out, seconds, nanoseconds), cut)), written);
        }
    }

    #[test]
    fn dates_are_what_neo4j_prints() {
        for (days, written) in [
            (0, "1970-01-01"),
            (-719_527, "0000-01-02"),
            (-719_892, "-0001-01-02"),
            (-354_649, "0999-01-02"),
            (-1_084_404, "-0999-01-02"),
            (2_932_533, "9999-01-02"),
            (2_932_898, "+10000-01-02"),
            (-4_371_952, "-10000-01-02"),
            (365_241_780_108, "+999999999-01-02"),
            (-365_243_219_161, "-999999999-01-02"),
        ] {
            assert_eq!(text(|out| write_date(out, days)), written);
        }
        assert!(is_day(*DAYS.start()) && is_day(*DAYS.end()) && !is_day(i64::MIN));
        assert_eq!(text(|out| write_date(out, *DAYS.start())), "-999999999-01-01");
        assert_eq!(text(|out| write_date(out, *DAYS.end())), "+999999999-12-31");
    }

    #[test]
    fn times_are_what_neo4j_prints() {
        let noon = 45_000 * SECOND_NANOSECONDS;
        for (nanoseconds, written) in [
            (noon, "12:30:00"),
            (noon + 340_000_000, "12:30:00.34"),
            (1, "00:00:00.000000001"),
            (DAY_SECONDS * SECOND_NANOSECONDS - 1, "23:59:59.999999999"),
        ] {
            assert_eq!(text(|out| write_time_of_day(out, nanoseconds)), written);
        }
        for (offset, written) in [
            (0, "Z"),
            (3600, "+01:00"),
            (19_800, "+05:30"),
            (-1800, "-00:30"),
            (-1, "-00:00:01"),
            (-3661, "-01:01:01"),
            (64_800, "+18:00"),
        ] {
            assert_eq!(text(|out| write_offset(out, offset)), written);
        }
    }

    #[test]
    fn durations_are_what_neo4j_prints() {
        for ((months, days, seconds, nanoseconds), written) in [
            ((0, 0, 0, 0), "PT0S"),
            ((14, 3, 14_706, 700_000_000), "P1Y2M3DT4H5M6.7S"),
            ((-14, -3, -14_706, -700_000_000), "P-1Y-2M-3DT-4H-5M-6.7S"),
            ((0, 0, -1, 500_000_000), "PT-0.5S"),
            ((0, 0, 0, -500_000_000), "PT-0.5S"),
            ((12, 0, 0, 0), "P1Y"),
            ((-13, 0, 0, 0), "P-1Y-1M"),
            ((0, 45, 0, 0), "P45D"),
            ((0, 0, 93_600, 0), "PT26H"),
            ((0, 0, -59, 1), "PT-58.999999999S"),
            ((0, 0, -60, 1), "PT-59.999999999S"),
            ((0, 0, -60, 0), "PT-1M"),
            ((0, 0, -61, 1), "PT-1M-0.999999999S"),
            ((0, 0, -3600, 1), "PT-59M-59.999999999S"),
            ((0, 0, 3600, 1), "PT1H0.000000001S"),
            ((0, 0, -3661, 100), "PT-1H-1M-0.9999999S"),
            ((1, -1, 5, 0), "P1M-1DT5S"),
        ] {
            assert_eq!(text(|out| write_duration(out, months, days, seconds, nanoseconds)), written);
        }
        text(|out| write_duration(out, i64::MIN, i64::MIN, i64::MIN, i64::MIN));
    }

    proptest! {
        #[test]
        fn datetimes_agree_with_chrono_and_read_back(seconds in -62_167_219_200_i64..253_402_300_800, nanoseconds in 0u32..1_000_000_000) {
            let written = text(|out| { write_datetime(out, seconds, nanoseconds); });
            let read = chrono::DateTime::parse_from_rfc3339(&written);
            prop_assert!(read.is_ok(), "{written}");
            if let Ok(read) = read {
                prop_assert_eq!(read.timestamp(), seconds);
                prop_assert_eq!(read.timestamp_subsec_micros(), nanoseconds / 1000);
            }
        }

        #[test]
        fn datetimes_sort_like_time(
            first in (-62_167_219_200_i64..253_402_300_800, 0u32..1_000_000),
            seconds_later in prop_oneof![Just(0i64), 0..100_000_i64],
            second_micros in 0u32..1_000_000,
        ) {
            let second = ((first.0 + seconds_later).min(253_402_300_799), second_micros);
            let write = |(seconds, micros): (i64, u32)| text(|out| { write_datetime(out, seconds, micros * 1000); });
            prop_assert_eq!(write(first).cmp(&write(second)), first.cmp(&second));
        }

        #[test]
        fn consecutive_days_are_consecutive_dates(days in *DAYS.start()..*DAYS.end()) {
            let (year, month, day) = civil(days);
            let next = civil(days + 1);
            prop_assert!(next == (year, month, day + 1) || next == (year, month + 1, 1) || next == (year + 1, 1, 1));
        }
    }
}
