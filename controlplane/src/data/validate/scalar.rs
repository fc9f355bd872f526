//! The text forms of single values: what is wrong with one, or the form that Postgres gets.

use jiff::{Timestamp, civil};
use uuid::Uuid;

pub(in crate::data) type Checked = Result<String, &'static str>;

pub(in crate::data) fn date(text: &str) -> Checked {
    const WANTED: &str = "write a date as 2026-12-31, from year 1 to 9999";
    let date: civil::Date = text.parse().map_err(|_| WANTED)?;
    // The parser also takes times and other forms of a date.
    if text.len() == 10 && date.year() > 0 { Ok(text.to_owned()) } else { Err(WANTED) }
}

pub(in crate::data) fn time(text: &str) -> Checked {
    const WANTED: &str = "write a time as 23:59:59 or 23:59:59.999";
    let shaped = text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.');
    let time: civil::Time = text.parse().map_err(|_| WANTED)?;
    if shaped { Ok(time.to_string()) } else { Err(WANTED) }
}

pub(in crate::data) fn date_time(text: &str) -> Checked {
    const WANTED: &str =
        "write a time in RFC 3339 with its offset, as 2026-12-31T23:59:59Z, from year 1 to 9999";
    let moment: Timestamp = text.parse().map_err(|_| WANTED)?;
    let utc = moment.to_string();
    // Years outside have a sign and six digits.
    if utc.as_bytes().get(4) == Some(&b'-') && !utc.starts_with("0000") { Ok(utc) } else { Err(WANTED) }
}

pub(in crate::data) fn uuid(text: &str) -> Checked {
    Uuid::try_parse(text).map(|uuid| uuid.to_string()).map_err(|_| "write a UUID")
}

/// Digits with a sign and a point, no more before the point than `precision - scale` and no more behind it than `scale`.
pub(in crate::data) fn decimal(text: &str, precision: u32, scale: u32) -> Result<String, String> {
    let wanted = || {
        format!(
            "write a decimal with at most {} digits before the point and {scale} behind it, as text",
            precision - scale
        )
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let significant = whole.trim_start_matches('0').len();
    let fits =
        significant <= (precision - scale) as usize && fraction.trim_end_matches('0').len() <= scale as usize;
    if numeric(whole) && numeric(fraction) && fits && text.len() <= 200 {
        Ok(text.to_owned())
    } else {
        Err(wanted())
    }
}

pub(in crate::data) fn url(text: &str) -> Result<(), &'static str> {
    const WANTED: &str = "write a URL that starts with http:// or https://";
    let url = reqwest::Url::parse(text).map_err(|_| WANTED)?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(()) } else { Err(WANTED) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_form_and_a_known_year() {
        assert_eq!(date_time("2026-07-01T02:00:00+02:00").unwrap(), "2026-07-01T00:00:00Z");
        for wrong in
            ["2026-07-01T02:00:00", "2026-07-01", "yesterday", "-000001-01-01T00:00:00Z", "now", "infinity"]
        {
            assert!(date_time(wrong).is_err(), "{wrong}");
        }
        assert!(date("2026-02-28").is_ok());
        for wrong in ["2026-02-30", "2026-2-3", "20260203", "2026-02-03T00:00", "infinity", "0000-01-01"] {
            assert!(date(wrong).is_err(), "{wrong}");
        }
        assert_eq!(time("23:59").unwrap(), "23:59:00");
        for wrong in ["24:00", "T12:00", "12", "allballs", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn decimals_keep_every_digit_or_are_refused() {
        for right in ["0", "-1.50", "12345678901234.99", "0001.10", "1.5000"] {
            assert!(decimal(right, 16, 2).is_ok(), "{right}");
        }
        for wrong in ["", "-", "1.", ".5", "1.234", "123456789012345", "1e3", "NaN", "+1", "1 ", "٣"] {
            assert!(decimal(wrong, 16, 2).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        assert!(url("https://example.com/a?b").is_ok());
        for wrong in ["example.com", "javascript:alert(1)", "ftp://example.com", "http://"] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
