//! The one grammar for durations and sizes, in the file, in variables and in flags.
//!
//! A duration is one or more numbers with a unit, the larger unit first: `250ms`, `30s`, `1.5s`, `1m30s`, `2h`; or `0`.
//! A size is one number with a unit: `64KiB`, `1.5MiB`; or `0`.

use std::time::Duration;

/// The longest duration that is accepted: a year. Clocks can add it to any moment without an overflow.
pub const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It does not follow the grammar.
    #[error(
        r#"a duration is a number with ms, s, m or h, such as "250ms", "30s", "1.5s" or "1m30s""#
    )]
    Grammar,
    /// A number without a unit.
    #[error(r#"the unit is missing: write "{0}s" or "{0}ms""#)]
    NoUnit(u64),
    /// More than zero and less than the clock can tell apart.
    #[error("a duration is 0 or at least 1ms")]
    Short,
    /// More than [`DURATION_MAX`].
    #[error("a duration is at most 8760h, which is a year")]
    Long,
}

/// Why a text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// It does not follow the grammar.
    #[error(r#"a size is a number with B, KiB, MiB or GiB, such as "64KiB""#)]
    Grammar,
    /// A number without a unit.
    #[error(r#"the unit is missing: write "{0}B" or "{0}KiB""#)]
    NoUnit(u64),
    /// More than this machine can count.
    #[error("a size is at most 8388608GiB")]
    Large,
}

/// Longer names come first, so that `ms` is not read as `m`.
const TIMES: [(&str, u64); 4] = [
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3600 * SECOND),
];
const SECOND: u64 = 1_000_000_000;
const SIZES: [(&str, u64); 4] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("B", 1),
];
const SIZE_MAX: u128 = 1 << 53;

/// Reads a duration.
///
/// # Errors
///
/// What the text should be instead.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    if let Ok(number) = text.parse() {
        return match number {
            0 => Ok(Duration::ZERO),
            _ => Err(DurationError::NoUnit(number)),
        };
    }
    let mut nanos = 0;
    let mut rest = text;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let term = term(rest, &TIMES).ok_or(DurationError::Grammar)?;
        if term.unit >= last {
            return Err(DurationError::Grammar);
        }
        nanos += term.value;
        (rest, last) = (term.rest, term.unit);
    }
    match nanos {
        _ if text.is_empty() => Err(DurationError::Grammar),
        1..1_000_000 => Err(DurationError::Short),
        _ if nanos > DURATION_MAX.as_nanos() => Err(DurationError::Long),
        _ => Ok(Duration::from_nanos(nanos.try_into().expect("a year fits"))),
    }
}

/// Reads a size in bytes.
///
/// # Errors
///
/// What the text should be instead.
pub fn size(text: &str) -> Result<u64, SizeError> {
    if let Ok(number) = text.parse() {
        return match number {
            0 => Ok(0),
            _ => Err(SizeError::NoUnit(number)),
        };
    }
    let term = term(text, &SIZES).ok_or(SizeError::Grammar)?;
    if !term.rest.is_empty() {
        return Err(SizeError::Grammar);
    }
    match term.value {
        value if value > SIZE_MAX => Err(SizeError::Large),
        value => Ok(value.try_into().expect("2^53 fits")),
    }
}

/// Writes a duration so that [`duration`] reads it again; what is below a millisecond is dropped.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    }
}

/// Writes a size so that [`size`] reads it again.
pub fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{}GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => format!("{bytes}B"),
    }
}

/// One number with its unit.
struct Term<'t> {
    /// The number times the unit, rounded down.
    value: u128,
    unit: u64,
    rest: &'t str,
}

/// Reads one number with one of the units; none where there is no such thing or the number is absurdly long.
fn term<'t>(text: &'t str, units: &[(&str, u64)]) -> Option<Term<'t>> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("0", rest),
    };
    // These bounds keep every product far inside of u128.
    if whole.is_empty() || fraction.is_empty() || whole.len() > 18 || fraction.len() > 9 {
        return None;
    }
    let (unit, rest) = units
        .iter()
        .find_map(|(name, unit)| Some((*unit, rest.strip_prefix(name)?)))?;
    let scale = 10_u128.pow(fraction.len().try_into().ok()?);
    let fraction = fraction.parse::<u128>().ok()? * u128::from(unit) / scale;
    let value = whole.parse::<u128>().ok()? * u128::from(unit) + fraction;
    Some(Term { value, unit, rest })
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|byte: char| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("1ms", 1),
            ("30s", 30_000),
            ("1.5s", 1500),
            ("0.25s", 250),
            ("5m", 300_000),
            ("1m30s", 90_000),
            ("1h1m1s1ms", 3_661_001),
            ("8760h", 31_536_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_duration() {
        for text in [
            "",
            "s",
            "-1s",
            "+1s",
            "1 s",
            " 1s",
            "1s ",
            "1sec",
            "1S",
            ".5s",
            "1.s",
            "1s1m",
            "1s1s",
            "1e3s",
            "1d",
            "9999999999999999999s",
            "1.0000000001s",
            "١s",
        ] {
            assert_eq!(duration(text), Err(DurationError::Grammar), "{text}");
        }
        assert_eq!(duration("30"), Err(DurationError::NoUnit(30)));
        assert_eq!(duration("0.5ms"), Err(DurationError::Short));
        assert_eq!(duration("8760h1ms"), Err(DurationError::Long));
        assert_eq!(duration("999999999999999999h"), Err(DurationError::Long));
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512B", 512),
            ("64KiB", 65_536),
            ("1.5MiB", 1_572_864),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "64KB", "64k", "64kib", "1KiB1B", "-1B", "1 KiB"] {
            assert_eq!(size(text), Err(SizeError::Grammar), "{text}");
        }
        assert_eq!(size("64"), Err(SizeError::NoUnit(64)));
        assert_eq!(size("99999999999999GiB"), Err(SizeError::Large));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(millis in 0..=31_536_000_000_u64, bytes in 0..=1_u64 << 53) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(time)), Ok(time));
            prop_assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_panics(text in "[0-9.]{0,40}(ms|s|m|h|KiB|GiB|B)?[0-9.]{0,3}[smhB]?") {
            let _ = (duration(&text), size(&text));
        }
    }
}
