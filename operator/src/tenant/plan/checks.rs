//! Reading a check constraint back.

/// The texts that a check allows, from what `pg_get_constraintdef` makes of ours:
/// `CHECK ((status = ANY (ARRAY['lead'::text, 'it''s'::text])))`. Nothing for any other shape.
pub(super) fn allowed_texts(definition: &str) -> Option<Vec<String>> {
    let mut rest = definition.split_once("ARRAY[")?.1;
    let mut texts = Vec::new();
    loop {
        let (text, after) = literal(rest)?;
        texts.push(text);
        rest = after.strip_prefix("::text").unwrap_or(after);
        match rest.strip_prefix(", ") {
            Some(next) => rest = next,
            None => return rest.starts_with(']').then_some(texts),
        }
    }
}

/// One quoted literal at the start of `text`, and what follows it.
fn literal(text: &str) -> Option<(String, &str)> {
    let escaped = text.starts_with('E');
    let body = text.strip_prefix('E').unwrap_or(text).strip_prefix('\'')?;
    let mut value = String::new();
    let mut chars = body.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                value.push('\'');
            }
            '\'' => return Some((value, &body[at + 1..])),
            '\\' if escaped => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_postgres_writes() {
        let written = r"CHECK ((status = ANY (ARRAY['lead'::text, 'it''s'::text, 'a\b'::text])))";
        assert_eq!(allowed_texts(written).unwrap(), ["lead", "it's", r"a\b"]);
        assert_eq!(allowed_texts(r"CHECK ((s = ANY (ARRAY[E'a\\b'::text])))").unwrap(), [r"a\b"]);
        assert_eq!(allowed_texts("CHECK ((s = ANY (ARRAY['], '::text])))").unwrap(), ["], "]);
    }

    #[test]
    fn any_other_check_is_not_ours_to_read() {
        for other in ["CHECK ((n > 0))", "CHECK ((s = ANY (ARRAY[lower(x)])))", "CHECK ((s = ANY (ARRAY['a"] {
            assert_eq!(allowed_texts(other), None, "{other}");
        }
    }
}
