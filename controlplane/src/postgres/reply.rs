//! What a group came to.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// What a group came to.
#[derive(Debug, Default)]
pub struct Reply {
    /// The rows of all statements, in order.
    pub rows: Vec<Row>,
}

/// A row: values in text form, still as they came from the wire.
#[derive(Debug, Clone)]
pub struct Row {
    body: Bytes,
}

impl Row {
    /// `body` is that of a DataRow: a count, then each value with its length before it.
    pub(super) fn new(body: Bytes) -> Self {
        Self { body }
    }

    /// A row of these texts, as if it came from the wire.
    pub fn of_texts(values: &[Option<String>]) -> Self {
        let mut body = BytesMut::new();
        // A statement has far fewer columns than the count has room for.
        body.put_i16(i16::try_from(values.len()).unwrap_or(i16::MAX));
        for value in values {
            match value.as_deref().map(|text| (text, i32::try_from(text.len()))) {
                Some((text, Ok(length))) => {
                    body.put_i32(length);
                    body.put_slice(text.as_bytes());
                }
                Some((_, Err(_))) | None => body.put_i32(-1),
            }
        }
        Self::new(body.freeze())
    }

    /// Bytes that the row has, lengths included.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// The values, in the order of the columns; `None` is NULL.
    pub fn values(&self) -> Values<'_> {
        Values(self.body.get(2..).unwrap_or_default())
    }

    /// The value of one column as text. Nothing for NULL, and for a column that is not there.
    pub fn text(&self, column: usize) -> Option<&str> {
        self.values().nth(column).flatten().and_then(|value| std::str::from_utf8(value).ok())
    }
}

/// The values of a [`Row`].
#[derive(Debug, Clone)]
pub struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = self.0.try_get_i32().ok()?;
        let Ok(length) = usize::try_from(length) else { return Some(None) };
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_order_and_null_is_none() {
        let row = Row::new(Bytes::from_static(b"\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0"));
        assert_eq!(row.values().collect::<Vec<_>>(), [Some(&b"a"[..]), None, Some(&b""[..])]);
        assert_eq!((row.text(0), row.text(1), row.text(2), row.text(3)), (Some("a"), None, Some(""), None));
    }

    #[test]
    fn a_row_of_texts_reads_back() {
        let row = Row::of_texts(&[Some("a".into()), None, Some(String::new())]);
        assert_eq!((row.text(0), row.text(1), row.text(2), row.text(3)), (Some("a"), None, Some(""), None));
    }

    #[test]
    fn a_row_that_is_cut_ends_early() {
        let row = Row::new(Bytes::from_static(b"\0\x01\0\0\0\x09a"));
        assert_eq!(row.values().count(), 0);
    }
}
