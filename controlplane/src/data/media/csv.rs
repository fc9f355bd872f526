//! CSV (RFC 4180).

/// A value: a text in quotes is never NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub text: String,
    pub quoted: bool,
}

/// The records of `text`, the first of which are the names.
///
/// # Errors
/// What is wrong, with the number of the record.
pub(super) fn records(text: &str, most: usize) -> Result<Vec<Vec<Cell>>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut records = Vec::new();
    let mut record: Vec<Cell> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let wrong = |problem: &str| format!("record {}: {problem}", records.len() + 1);
        let (cell, after) = match rest.strip_prefix('"') {
            Some(inner) => quoted(inner).ok_or_else(|| wrong("a quote is not closed"))?,
            None => {
                let end = rest.find([',', '\n', '\r']).unwrap_or(rest.len());
                let (text, after) = rest.split_at(end);
                (Cell { text: text.to_owned(), quoted: false }, after)
            }
        };
        record.push(cell);
        let end = after.strip_prefix("\r\n").or_else(|| after.strip_prefix('\n'));
        rest = match (after.strip_prefix(','), end) {
            // A record that ends in a comma has one more cell, which is empty.
            (Some(""), _) => "\n",
            (Some(more), _) => more,
            (None, Some(next)) => {
                records.push(std::mem::take(&mut record));
                next
            }
            (None, None) if after.is_empty() => "",
            (None, None) => return Err(wrong("a comma or the end of the line is expected after a value")),
        };
        if records.len() > most {
            break;
        }
    }
    if !record.is_empty() {
        records.push(record);
    }
    if records.len() > most { Err(format!("there are more than {most} records")) } else { Ok(records) }
}

/// What stands before the closing quote, and what comes after it.
fn quoted(inner: &str) -> Option<(Cell, &str)> {
    let mut text = String::new();
    let mut rest = inner;
    loop {
        let (part, after) = rest.split_once('"')?;
        text.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                text.push('"');
                rest = more;
            }
            None => return Some((Cell { text, quoted: true }, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let records = records(text, 10).unwrap();
        records.into_iter().map(|record| record.into_iter().map(|cell| cell.text).collect()).collect()
    }

    #[test]
    fn records_are_read_as_the_rfc_says() {
        assert_eq!(texts("a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n"), [["a", "b"], ["1", "x, \"y\"\nz"]]);
        assert_eq!(texts("\u{feff}a,b\n1,"), [["a", "b"], ["1", ""]]);
        assert_eq!(texts("a,b\n,\n"), [["a", "b"], ["", ""]]);
        assert!(texts("").is_empty());
        assert!(records("\"\"", 1).unwrap()[0][0].quoted);
        for wrong in ["\"a", "\"a\"b", "a\rb"] {
            assert!(records(wrong, 10).is_err(), "{wrong}");
        }
        assert!(records("a\nb\nc", 2).is_err());
    }
}
