//! Rows as JSON and CSV.
//!
//! Postgres sends the text form of every value and it becomes JSON here, in one buffer for the whole answer. Building the JSON in
//! Postgres (`row_to_json`) costs the server more than twice the time for a page of documents.

use std::borrow::Cow;

use tenantry_migrations::layout::SqlType;

use super::{
    model::{ColumnModel, Encoding},
    query::{Kind, Level, Output},
    sql::{Decimals, Style},
};
use crate::postgres::Row;

/// A member of a document: what stands before its value, and how that becomes JSON.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// `"name":`
    key: Cow<'a, str>,
    encoding: Encoding,
}

impl<'a> Member<'a> {
    /// A column under its own name.
    pub fn column(column: &'a ColumnModel) -> Self {
        Self { key: Cow::Borrowed(&column.json_key), encoding: column.encoding }
    }

    /// The members of `level`.
    pub fn of(level: &'a Level<'_>, style: Style) -> Vec<Self> {
        level.outputs.iter().map(|output| Self::new(level, output, style)).collect()
    }

    fn new(level: &'a Level<'_>, output: &'a Output, style: Style) -> Self {
        let (encoding, plain) = match output {
            Output::Embed(_) => (Encoding::Plain, None),
            Output::Subject { subject, key } => match subject.kind(level.doc) {
                Some(Kind::Column(column)) => {
                    let decimal = matches!(column.sql_type, SqlType::Numeric { .. });
                    let number = decimal && style.decimals == Decimals::Number;
                    let encoding = if number { Encoding::Plain } else { column.encoding };
                    (encoding, Some(column).filter(|_| key.is_none()))
                }
                Some(Kind::Text) => (Encoding::Text, None),
                Some(Kind::Json) | None => (Encoding::Plain, None),
            },
        };
        let key = match plain {
            Some(column) => Cow::Borrowed(column.json_key.as_str()),
            None => {
                let mut key = Vec::new();
                quoted(&mut key, |out| escaped(out, level.key(output).as_bytes()));
                key.push(b':');
                // Text that was escaped is text still.
                Cow::Owned(String::from_utf8(key).unwrap_or_default())
            }
        };
        Self { key, encoding }
    }
}

/// Appends a document: the first values of `row` are those of `members`.
pub fn document(out: &mut Vec<u8>, members: &[Member<'_>], row: &Row, strip_nulls: bool) {
    out.push(b'{');
    let mut first = true;
    for (member, value) in members.iter().zip(row.values()) {
        if value.is_none() && strip_nulls {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(member.key.as_bytes());
        match value {
            None => out.extend_from_slice(b"null"),
            Some(value) => encode(out, member.encoding, value),
        }
    }
    out.push(b'}');
}

/// Appends the documents of `rows` with `between` between them.
pub fn documents<'a>(
    out: &mut Vec<u8>,
    members: &[Member<'_>],
    rows: impl IntoIterator<Item = &'a Row>,
    strip_nulls: bool,
    between: &[u8],
) {
    for (n, row) in rows.into_iter().enumerate() {
        if n > 0 {
            out.extend_from_slice(between);
        }
        document(out, members, row, strip_nulls);
    }
}

/// Bytes that the documents of `rows` take at most, as JSON or as CSV without the names.
pub fn most_bytes(members: &[Member<'_>], rows: &[Row]) -> usize {
    // A document has two brackets and what is between it and the next; a member has two quotes and a comma, or is `null`.
    let frame: usize = 4 + members.iter().map(|member| member.key.len() + 5).sum::<usize>();
    let escapes =
        |value: &[u8]| value.iter().map(|byte| ESCAPED[usize::from(*byte)]).map(usize::from).sum::<usize>();
    let of = |row: &Row| row.values().flatten().map(|value| value.len() + escapes(value)).sum::<usize>();
    rows.iter().map(|row| frame + of(row)).sum()
}

/// By how many bytes a byte grows at most when it is escaped.
const ESCAPED: [u8; 256] = {
    let mut grows = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        grows[byte] = 5;
        byte += 1;
    }
    let short = [b'"', b'\\', b'\n', b'\r', b'\t'];
    let mut n = 0;
    while n < short.len() {
        grows[short[n] as usize] = 1;
        n += 1;
    }
    grows
};

/// Appends the names of `members` and the documents of `rows` as CSV (RFC 4180). NULL is nothing.
pub fn csv<'a>(
    out: &mut Vec<u8>,
    names: impl IntoIterator<Item = &'a str>,
    members: &[Member<'_>],
    rows: impl IntoIterator<Item = &'a Row>,
) {
    for (n, name) in names.into_iter().enumerate() {
        out.extend_from_slice(if n > 0 { b"," } else { b"" });
        cell(out, name.as_bytes());
    }
    out.push(b'\n');
    for row in rows {
        for (n, (member, value)) in members.iter().zip(row.values()).enumerate() {
            out.extend_from_slice(if n > 0 { b"," } else { b"" });
            match (value, member.encoding) {
                (None, _) => {}
                (Some(value), Encoding::Boolean) => {
                    out.extend_from_slice(if value == b"t" { b"true" } else { b"false" });
                }
                (Some(value), Encoding::Timestamp) => timestamp(out, value),
                // An empty text is no NULL.
                (Some(b""), _) => out.extend_from_slice(b"\"\""),
                (Some(value), _) => cell(out, value),
            }
        }
        out.push(b'\n');
    }
}

fn cell(out: &mut Vec<u8>, value: &[u8]) {
    if !value.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(value);
        return;
    }
    quoted(out, |out| {
        for byte in value {
            out.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
        }
    });
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
    fn no_document_takes_more_than_was_said() {
        let nasty = "\"\\\u{1}\u{1f}\n,é".repeat(50);
        let texts = [Some(nasty), None, Some(String::new()), Some("t".to_owned()), Some("12.5".to_owned())];
        let encodings = [Encoding::Text, Encoding::Text, Encoding::Text, Encoding::Boolean, Encoding::Quoted];
        let members: Vec<Member<'_>> =
            encodings.into_iter().map(|encoding| Member { key: Cow::Borrowed("\"k\":"), encoding }).collect();
        let rows =
            vec![Row::of_texts(&texts), Row::of_texts(&[None, None, None, Some("f".to_owned()), None])];
        let most = most_bytes(&members, &rows);
        let (mut json, mut table) = (Vec::new(), Vec::new());
        documents(&mut json, &members, &rows, false, b",");
        csv(&mut table, [], &members, &rows);
        assert!(json.len() <= most && table.len() <= most + 1, "{} {} {most}", json.len(), table.len());
        assert!(most < json.len() + 200, "and not by much: {most} for {}", json.len());
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
