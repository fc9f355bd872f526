//! Rows as JSON.
//!
//! Postgres sends the text form of every value and it becomes JSON here, in one buffer for the whole answer. Building the JSON in
//! Postgres (`row_to_json`) costs the server more than twice the time for a page of documents.

use super::model::{ColumnModel, Encoding};
use crate::postgres::Row;

/// Appends a document: the first values of `row` are those of `columns`.
pub fn document(out: &mut Vec<u8>, columns: &[&ColumnModel], row: &Row) {
    out.push(b'{');
    for (n, (column, value)) in columns.iter().zip(row.values()).enumerate() {
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(column.json_key.as_bytes());
        match value {
            None => out.extend_from_slice(b"null"),
            Some(value) => encode(out, column.encoding, value),
        }
    }
    out.push(b'}');
}

/// Appends the documents of `rows` as an array.
pub fn array<'a>(out: &mut Vec<u8>, columns: &[&ColumnModel], rows: impl IntoIterator<Item = &'a Row>) {
    out.push(b'[');
    for (n, row) in rows.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        document(out, columns, row);
    }
    out.push(b']');
}

fn encode(out: &mut Vec<u8>, encoding: Encoding, value: &[u8]) {
    match encoding {
        Encoding::Plain => out.extend_from_slice(value),
        Encoding::Float if value.iter().any(u8::is_ascii_alphabetic) && !value.contains(&b'e') => {
            out.extend_from_slice(b"null");
        }
        // `Infinity` and `NaN` have no `e`.
        Encoding::Float => out.extend_from_slice(value),
        Encoding::Quoted => quoted(out, |out| out.extend_from_slice(value)),
        Encoding::Text => quoted(out, |out| escaped(out, value)),
        Encoding::Timestamp => quoted(out, |out| timestamp(out, value)),
        Encoding::Boolean => out.extend_from_slice(if value == b"t" { b"true" } else { b"false" }),
    }
}

fn quoted(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    content(out);
    out.push(b'"');
}

/// `2026-07-01 02:03:04.5+00`, the form of ISO with the session in UTC, as `2026-07-01T02:03:04.5Z`.
fn timestamp(out: &mut Vec<u8>, value: &[u8]) {
    match (value.split_at_checked(10), value.strip_suffix(b"+00")) {
        (Some((date, _)), Some(moment)) if moment.len() > 11 => {
            out.extend_from_slice(date);
            out.push(b'T');
            out.extend_from_slice(moment.get(11..).unwrap_or_default());
            out.push(b'Z');
        }
        // A year that RFC 3339 does not know, which no request can have written.
        _ => escaped(out, value),
    }
}

/// Text with all that JSON wants escaped. Postgres sends valid UTF-8.
pub(super) fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut clean = 0;
    for (n, byte) in text.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => 0,
            _ => continue,
        };
        out.extend_from_slice(&text[clean..n]);
        clean = n + 1;
        match short {
            0 => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
            short => out.extend_from_slice(&[b'\\', short]),
        }
    }
    out.extend_from_slice(&text[clean..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(encoding: Encoding, value: &str) -> String {
        let mut out = Vec::new();
        encode(&mut out, encoding, value.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_escaped_as_json_wants_it() {
        let nasty = "a\"b\\c\n\r\t\u{1}\u{1f} é 𝄞 </script>";
        let written = json(Encoding::Text, nasty);
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), nasty);
    }

    #[test]
    fn times_are_rfc_3339() {
        for text in ["2026-07-01 02:03:04.123456+00", "2026-07-01 02:03:04+00"] {
            let written = json(Encoding::Timestamp, text);
            assert!(written.ends_with("Z\"") && written.contains('T'), "{written}");
            assert!(written.trim_matches('"').parse::<jiff::Timestamp>().is_ok(), "{written}");
        }
        assert_eq!(json(Encoding::Timestamp, "infinity"), "\"infinity\"");
    }

    #[test]
    fn other_values_are_valid_json() {
        assert_eq!(json(Encoding::Boolean, "t"), "true");
        assert_eq!(json(Encoding::Boolean, "f"), "false");
        assert_eq!(json(Encoding::Float, "1.5e+20"), "1.5e+20");
        assert_eq!(json(Encoding::Float, "NaN"), "null");
        assert_eq!(json(Encoding::Float, "-Infinity"), "null");
        assert_eq!(json(Encoding::Quoted, "12.50"), "\"12.50\"");
    }
}
