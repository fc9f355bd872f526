//! Reads the grammar of queries from left to right. Pure, and never slower than linear in the text.

use std::borrow::Cow;

/// Characters of a name or a key in a query.
const MAX_NAME: usize = 100;

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    pub fn new(text: &'a str) -> Self {
        Self(text)
    }

    pub fn rest(self) -> &'a str {
        self.0
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn starts_with(self, prefix: &str) -> bool {
        self.0.starts_with(prefix)
    }

    /// Goes past `prefix`, if it comes next.
    pub fn take(&mut self, prefix: &str) -> bool {
        match self.0.strip_prefix(prefix) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// Everything up to one of `stops`, or to the end.
    pub fn until(&mut self, stops: &[char]) -> &'a str {
        self.split(self.0.find(stops).unwrap_or(self.0.len()))
    }

    /// A name: in quotes, or up to one of `stops` or an arrow.
    pub fn name(&mut self, stops: &[char]) -> Result<Cow<'a, str>, String> {
        let name = if self.starts_with("\"") {
            Cow::Owned(self.quoted()?)
        } else {
            let end = self.0.find(stops).unwrap_or(self.0.len());
            let end = self.0.find("->").map_or(end, |arrow| end.min(arrow));
            Cow::Borrowed(self.split(end).trim())
        };
        match name.chars().count() {
            0 => Err(format!("a name is missing before {:?}", shown(self.0))),
            1..=MAX_NAME if !name.contains('\0') => Ok(name),
            _ => Err(format!("names have at most {MAX_NAME} characters, and none of them is NUL")),
        }
    }

    /// A text in quotes, in which `\` makes the next character plain.
    pub fn quoted(&mut self) -> Result<String, String> {
        const OPEN: &str = "a quote is not closed";
        let mut characters = self.0.char_indices().skip(1);
        let mut text = String::new();
        while let Some((n, character)) = characters.next() {
            match character {
                '"' => {
                    self.split(n + 1);
                    return Ok(text);
                }
                '\\' => text.push(characters.next().ok_or(OPEN)?.1),
                other => text.push(other),
            }
        }
        Err(OPEN.into())
    }

    /// A bracket with all that is in it, brackets in quotes left out of account.
    pub fn bracketed(&mut self) -> Result<&'a str, String> {
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        for (n, character) in self.0.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ if quoted => {}
                '(' | '{' | '[' => depth += 1,
                ')' | '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Ok(self.split(n + character.len_utf8()));
            }
        }
        Err("a bracket is not closed".into())
    }

    fn split(&mut self, at: usize) -> &'a str {
        let (text, rest) = self.0.split_at_checked(at).unwrap_or((self.0, ""));
        self.0 = rest;
        text
    }
}

/// The values of `(a,b,"c,d")` or `{a,b,"c,d"}`, whatever the brackets are.
pub(super) fn values(text: &str, open: char, close: char) -> Result<Vec<String>, String> {
    let wanted = || format!("write {open}a,b,\"c,d\"{close}");
    let inner = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).ok_or_else(wanted)?;
    let (mut values, mut value, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted || value.is_empty() => quoted = !quoted,
            '\\' if quoted => value.push(characters.next().ok_or_else(wanted)?),
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            other => value.push(other),
        }
    }
    values.push(value);
    if quoted { Err(wanted()) } else { Ok(values) }
}

/// A piece of a request as it may stand in an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_quotes_and_escapes() {
        let list = |text| values(text, '(', ')');
        assert_eq!(list("(a,b)").unwrap(), ["a", "b"]);
        assert_eq!(list(r#"("a,b","c\"d\\",e)"#).unwrap(), ["a,b", "c\"d\\", "e"]);
        assert_eq!(list("()").unwrap(), [""]);
        for wrong in ["a,b", "(a", "(\"a)", "(\"a\\)", "{a}"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_end_at_stops_and_arrows() {
        let mut text = Text::new("meta->>city.eq.1");
        assert_eq!(text.name(&['.']).unwrap(), "meta");
        assert!(text.take("->>"));
        assert_eq!(text.name(&['.']).unwrap(), "city");
        assert_eq!(text.rest(), ".eq.1");
        assert_eq!(Text::new(r#""a\"b".x"#).name(&['.']).unwrap(), "a\"b");
        for wrong in ["", ".a", "\"a", &"x".repeat(101)] {
            assert!(Text::new(wrong).name(&['.']).is_err(), "{wrong}");
        }
    }

    #[test]
    fn brackets_are_read_whole() {
        for (text, whole) in [("(a,(b)),c", "(a,(b))"), (r#"{"a":")}"},x"#, r#"{"a":")}"}"#)] {
            assert_eq!(Text::new(text).bracketed().unwrap(), whole);
        }
        assert!(Text::new("(a").bracketed().is_err());
        assert!(Text::new(r#"("\"#).bracketed().is_err());
    }
}
