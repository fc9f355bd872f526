//! Expressions as the server prints them: which ones a definition can have made, and what they say.
//!
//! An allow-list of shapes. A constant, `now()` or a list of texts can do nothing; whatever else stands there can be code, built-in functions
//! are enough for that.

/// The texts that a check allows, from what `pg_get_constraintdef` makes of ours:
/// `CHECK ((status = ANY (ARRAY['lead'::text, 'it''s'::text])))`. Nothing for any other shape.
pub(super) fn allowed_texts(definition: &str) -> Option<Vec<String>> {
    let body = definition.strip_suffix(NOT_VALID).unwrap_or(definition).strip_prefix("CHECK ((")?;
    let mut rest = after_column(body)?.strip_prefix(" = ANY (ARRAY[")?;
    let mut texts = Vec::new();
    loop {
        let (text, after) = quoted(rest)?;
        texts.push(text);
        rest = after.strip_prefix("::text").unwrap_or(after);
        match rest.strip_prefix(", ") {
            Some(next) => rest = next,
            None => return (rest == "])))").then_some(texts),
        }
    }
}

/// Whether a check is one that we can have made: of the texts of a column, or that a column has a value, which stands there while
/// rows are looked at.
pub(super) fn is_our_check(definition: &str) -> bool {
    let body = definition.strip_suffix(NOT_VALID).unwrap_or(definition).strip_prefix("CHECK ((");
    let requires = body.and_then(after_column).is_some_and(|rest| rest == " IS NOT NULL))");
    requires || allowed_texts(definition).is_some()
}

/// Whether a default is one that we can have made: a constant, or the time.
pub(super) fn is_our_default(text: &str) -> bool {
    text == "now()" || constant(text).is_some_and(str::is_empty)
}

/// What `pg_get_constraintdef` ends with when the rows from before a constraint were not looked at.
pub(super) const NOT_VALID: &str = " NOT VALID";

/// What follows a constant at the start of `text`: a literal, a number, `true`, `false` or `NULL`, in parentheses or not, with casts to
/// types that need no schema, so they are the server's own.
fn constant(text: &str) -> Option<&str> {
    let mut rest = match text.strip_prefix('(') {
        Some(inner) => constant(inner)?.strip_prefix(')')?,
        None => ["true", "false", "NULL"]
            .iter()
            .find_map(|word| text.strip_prefix(word))
            .or_else(|| number(text))
            .or_else(|| quoted(text).map(|(_, rest)| rest))?,
    };
    while let Some(cast) = rest.strip_prefix("::") {
        rest = type_name(cast)?;
    }
    Some(rest)
}

fn number(text: &str) -> Option<&str> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    (rest.len() < digits.len()).then_some(rest)
}

/// What follows the name of a type, as `numeric(18,2)` or `timestamp with time zone`.
fn type_name(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_lowercase() || c == ' ');
    if rest.len() == text.len() {
        return None;
    }
    let Some(inner) = rest.strip_prefix('(') else { return Some(rest) };
    inner.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',').strip_prefix(')')
}

/// What follows the name of a column.
fn after_column(text: &str) -> Option<&str> {
    if let Some(name) = text.strip_prefix('"') {
        return name.split_once('"').map(|(_, rest)| rest).filter(|rest| !rest.starts_with('"'));
    }
    let rest = text.trim_start_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    (rest.len() < text.len()).then_some(rest)
}

/// One quoted literal at the start of `text`, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
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
        assert_eq!(allowed_texts("CHECK ((s = ANY (ARRAY['], '::text]))) NOT VALID").unwrap(), ["], "]);
        assert_eq!(allowed_texts("CHECK ((\"order\" = ANY (ARRAY['a'::text])))").unwrap(), ["a"]);
    }

    #[test]
    fn any_other_check_is_not_ours_to_read() {
        for other in [
            "CHECK ((n > 0))",
            "CHECK ((s = ANY (ARRAY[lower(x)])))",
            "CHECK ((s = ANY (ARRAY['a",
            "CHECK ((evil(s) = ANY (ARRAY['a'::text])))",
            "CHECK ((s = ANY (ARRAY['a'::text]))) AND evil()",
            "CHECK (((s = ANY (ARRAY['a'::text])) AND evil(s)))",
            "CHECK ((s OPERATOR(tenant_a.=) ANY (ARRAY['a'::text])))",
            "CHECK ((evil(s) IS NOT NULL))",
        ] {
            assert_eq!(allowed_texts(other), None, "{other}");
            assert!(!is_our_check(other), "{other}");
        }
        assert!(is_our_check("CHECK ((email IS NOT NULL)) NOT VALID"));
    }

    #[test]
    fn constants_and_the_time_are_defaults_of_ours() {
        for ours in [
            "now()",
            "'lead'::text",
            "'it''s (not) f()'::text",
            "0",
            "1.50",
            "'-5'::integer",
            "(-5)",
            "(0)::bigint",
            "'0.5'::numeric(18,2)",
            "true",
            "'{}'::jsonb",
            "'2026-01-01 00:00:00+00'::timestamp with time zone",
            "'12:00:00'::time without time zone",
            "NULL::text",
        ] {
            assert!(is_our_default(ours), "{ours}");
        }
    }

    #[test]
    fn any_other_default_is_not() {
        for other in [
            "set_config('role'::text, 'tenant_b'::text, true)",
            "evil()",
            "('a'::text || evil())",
            "'x'::tenant_a.evil",
            "('x'::tenant_a.evil)::text",
            "'x'::\"evil\"",
            "nextval('tenant_a.s'::regclass)",
            "(now())::text",
            "CURRENT_USER",
            "'a'::text COLLATE tenant_a.evil",
            "('a'::text)::text || ''",
            "1 + 1",
            "(1",
            "",
            "::text",
        ] {
            assert!(!is_our_default(other), "{other}");
        }
    }
}
