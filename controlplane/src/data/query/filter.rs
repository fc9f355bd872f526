//! `field=op.value`, in the dialect of PostgREST.

use tenantry_migrations::layout::SqlType;

use super::value;
use crate::data::model::{ColumnModel, DocModel};

/// Values that `in` takes at most.
const MAX_VALUES: usize = 100;
/// Characters of a pattern.
const MAX_PATTERN: usize = 200;

/// A test of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The column, by its place in the model.
    pub column: usize,
    /// Whether the test must fail.
    pub negated: bool,
    /// The test.
    pub test: Test,
}

/// What is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// Against a value.
    Compare(Comparison, String),
    /// Against several values.
    In(Vec<String>),
    /// Against a pattern with `%` and `_`, upper and lower case being the same.
    Like(String),
    /// For NULL.
    Null,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the operators of SQL")]
pub enum Comparison {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Filter {
    /// Reads the parameter `name=text`.
    pub(super) fn parse(doc: &DocModel, name: &str, text: &str) -> Result<Self, String> {
        let (n, column) = doc.readable(name).ok_or(
            "is no field of this document type and no parameter; see select, order, limit and after",
        )?;
        let (negated, text) = text.strip_prefix("not.").map_or((false, text), |rest| (true, rest));
        let (operator, operand) = text.split_once('.').ok_or(
            "write operator.value; operators are eq, neq, gt, gte, lt, lte, in, is and ilike, also with not. before",
        )?;
        Ok(Self { column: n, negated, test: Test::parse(column, operator, operand)? })
    }
}

impl Test {
    fn parse(column: &ColumnModel, operator: &str, operand: &str) -> Result<Self, String> {
        let compare =
            |comparison| value::of_column(column, operand).map(|value| Self::Compare(comparison, value));
        match operator {
            "eq" => compare(Comparison::Equal),
            "neq" => compare(Comparison::NotEqual),
            "gt" => compare(Comparison::Greater),
            "gte" => compare(Comparison::GreaterOrEqual),
            "lt" => compare(Comparison::Less),
            "lte" => compare(Comparison::LessOrEqual),
            "in" => {
                let values = list(operand)?;
                let values: Result<Vec<_>, _> =
                    values.iter().map(|text| value::of_column(column, text)).collect();
                Ok(Self::In(values?))
            }
            "is" => match (operand, column.sql_type) {
                ("null", _) => Ok(Self::Null),
                ("true" | "false", SqlType::Boolean) => compare(Comparison::Equal),
                _ => Err("use is.null, or is.true and is.false with a Boolean".into()),
            },
            "ilike" if column.sql_type != SqlType::Text => Err("ilike needs a field that holds text".into()),
            "ilike" => pattern(operand).map(Self::Like),
            other => Err(format!(
                "{:?} is no operator; use eq, neq, gt, gte, lt, lte, in, is or ilike",
                other.chars().take(40).collect::<String>()
            )),
        }
    }
}

/// `*` stands for `%`, which has a meaning of its own in URLs.
fn pattern(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_PATTERN || text.contains('\0') {
        return Err(format!("use a pattern of at most {MAX_PATTERN} characters"));
    }
    // A backslash at the end would escape nothing, which Postgres refuses.
    if text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1 {
        return Err("end the pattern with something other than a single backslash".into());
    }
    Ok(text.replace('*', "%"))
}

/// `(a,b,"c,d")`; in quotes, `\` makes the next character plain.
fn list(text: &str) -> Result<Vec<String>, String> {
    const WANTED: &str = "write in.(a,b,\"c,d\")";
    let inner = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).ok_or(WANTED)?;
    let (mut values, mut value, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted || value.is_empty() => quoted = !quoted,
            '\\' if quoted => value.push(characters.next().ok_or(WANTED)?),
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            other => value.push(other),
        }
    }
    values.push(value);
    if quoted {
        return Err(WANTED.into());
    }
    if values.len() > MAX_VALUES {
        return Err(format!("use at most {MAX_VALUES} values"));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_quotes_and_escapes() {
        assert_eq!(list("(a,b)").unwrap(), ["a", "b"]);
        assert_eq!(list(r#"("a,b","c\"d\\",e)"#).unwrap(), ["a,b", "c\"d\\", "e"]);
        assert_eq!(list("()").unwrap(), [""]);
        for wrong in ["a,b", "(a", "(\"a)", "(\"a\\)"] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
        assert!(list(&format!("({})", "a,".repeat(100))).is_err());
    }

    #[test]
    fn patterns_end_well() {
        assert_eq!(pattern("*a\\\\").unwrap(), "%a\\\\");
        assert!(pattern("a\\").is_err());
        assert!(pattern(&"x".repeat(201)).is_err());
    }
}
