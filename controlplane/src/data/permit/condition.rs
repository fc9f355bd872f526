//! Which documents, as a condition over their columns.

use std::{cmp::Ordering, sync::Arc};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Map, Value};
use tenantry_crds::{
    definition::{self, RowRule},
    v1alpha1::Operator,
};
use tenantry_migrations::layout::SqlType;

use crate::{
    auth::Caller,
    data::{model::ColumnModel, validate::scalar},
};

/// A condition over the columns of a document; `V` is what they are compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Condition<V> {
    /// Holds for every document.
    #[default]
    Always,
    /// Holds for none.
    Never,
    /// A comparison.
    Test(Test<V>),
    /// All must hold.
    All(Vec<Condition<V>>),
    /// One must hold.
    Any(Vec<Condition<V>>),
}

/// A comparison. A column without a value meets only IsNull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test<V> {
    /// The column.
    pub column: Arc<Tested>,
    /// How it is compared.
    pub operator: Operator,
    /// With what: several for In and NotIn, none for IsNull and NotNull, else one.
    pub values: Vec<V>,
}

/// A column that is compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Tested {
    /// Its place in the model.
    pub place: usize,
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// The type that a parameter is cast to.
    pub cast: &'static str,
}

/// What a column is compared with, before it is known who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// The caller's id.
    User,
    /// So many seconds before this moment.
    Ago(i64),
    /// A claim of the caller's token.
    Claim(String),
    /// A value in its text form.
    Literal(String),
}

/// Who calls, and when.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// The moment.
    pub now: Timestamp,
}

impl Tested {
    pub(super) fn of(place: usize, column: &ColumnModel) -> Arc<Self> {
        let (name, sql_type) = (column.name.clone(), column.sql_type);
        Arc::new(Self { place, name, sql_type, cast: column.cast() })
    }
}

impl<V: PartialEq> Condition<V> {
    /// Holds when all of `parts` do.
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for part in parts {
            match part {
                Self::Always => {}
                Self::Never => return Self::Never,
                Self::All(parts) => kept.extend(parts),
                part if kept.contains(&part) => {}
                part => kept.push(part),
            }
        }
        Self::only(kept).unwrap_or_else(|kept| if kept.is_empty() { Self::Always } else { Self::All(kept) })
    }

    /// Holds when one of `parts` does.
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut kept: Vec<Self> = Vec::new();
        for part in parts {
            match part {
                Self::Never => {}
                Self::Always => return Self::Always,
                Self::Any(parts) => kept.extend(parts),
                part if kept.contains(&part) => {}
                part => kept.push(part),
            }
        }
        Self::only(kept).unwrap_or_else(|kept| if kept.is_empty() { Self::Never } else { Self::Any(kept) })
    }

    fn only(mut parts: Vec<Self>) -> Result<Self, Vec<Self>> {
        match parts.pop() {
            Some(part) if parts.is_empty() => Ok(part),
            Some(part) => {
                parts.push(part);
                Err(parts)
            }
            None => Err(parts),
        }
    }

    /// The columns that are compared.
    pub fn columns(&self) -> Vec<&Tested> {
        match self {
            Self::Always | Self::Never => Vec::new(),
            Self::Test(test) => vec![&test.column],
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::columns).collect(),
        }
    }
}

impl Condition<Operand> {
    /// The condition that `rule` states; a column that is not there meets nothing.
    pub(super) fn compile(rule: &RowRule, column: &impl Fn(&str) -> Option<Arc<Tested>>) -> Self {
        let parts = |rules: &[RowRule]| -> Vec<Self> {
            rules.iter().map(|rule| Self::compile(rule, column)).collect()
        };
        match rule {
            RowRule::All(rules) => Self::all(parts(rules)),
            RowRule::Any(rules) => Self::any(parts(rules)),
            RowRule::Compare(comparison) => {
                let Some(column) = column(&comparison.column) else { return Self::Never };
                let values = comparison.operands.iter().map(|operand| match operand {
                    definition::Operand::User => Operand::User,
                    definition::Operand::Now => Operand::Ago(0),
                    definition::Operand::Claim(name) => Operand::Claim(name.clone()),
                    definition::Operand::Literal(text) => Operand::Literal(text.clone()),
                });
                Self::Test(Test { column, operator: comparison.operator, values: values.collect() })
            }
        }
    }

    /// The condition for `who`. A comparison with what the caller does not have, or the column cannot, is met by nothing.
    pub fn resolve(&self, who: &Who<'_>) -> Condition<String> {
        match self {
            Self::Always => Condition::Always,
            Self::Never => Condition::Never,
            Self::All(parts) => Condition::all(parts.iter().map(|part| part.resolve(who))),
            Self::Any(parts) => Condition::any(parts.iter().map(|part| part.resolve(who))),
            Self::Test(test) => test.resolve(who).map_or(Condition::Never, Condition::Test),
        }
    }
}

impl Test<Operand> {
    fn resolve(&self, who: &Who<'_>) -> Option<Test<String>> {
        let several = matches!(self.operator, Operator::In | Operator::NotIn);
        let mut values = Vec::with_capacity(self.values.len());
        for operand in &self.values {
            let found = match operand {
                Operand::User => vec![who.caller.user.to_string()],
                Operand::Ago(seconds) => vec![moment(self.column.sql_type, who.now, *seconds)?],
                Operand::Literal(text) => vec![text.clone()],
                Operand::Claim(name) => match who.caller.claims.get(name)? {
                    Value::Array(values) if several => values.iter().filter_map(text_of).collect(),
                    value => vec![text_of(value)?],
                },
            };
            values.extend(found.iter().filter_map(|text| fit(self.column.sql_type, text)));
        }
        let enough = match self.operator {
            Operator::IsNull | Operator::NotNull => values.is_empty(),
            Operator::In | Operator::NotIn => !values.is_empty(),
            _ => values.len() == 1,
        };
        enough.then(|| Test { column: Arc::clone(&self.column), operator: self.operator, values })
    }
}

impl Condition<String> {
    /// Whether it holds for a document, as answers show it. For what was not read through Postgres.
    pub fn holds(&self, document: &Map<String, Value>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::All(parts) => parts.iter().all(|part| part.holds(document)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(document)),
            Self::Test(test) => test.holds(document.get(&test.column.name).and_then(text_of).as_deref()),
        }
    }
}

impl Test<String> {
    fn holds(&self, value: Option<&str>) -> bool {
        let Some(value) = value else { return self.operator == Operator::IsNull };
        let against = |other: &String| order(self.column.sql_type, value, other);
        let one = self.values.first().and_then(against);
        match self.operator {
            Operator::Eq => one == Some(Ordering::Equal),
            Operator::Neq => one.is_some_and(Ordering::is_ne),
            Operator::Gt => one.is_some_and(Ordering::is_gt),
            Operator::Gte => one.is_some_and(Ordering::is_ge),
            Operator::Lt => one.is_some_and(Ordering::is_lt),
            Operator::Lte => one.is_some_and(Ordering::is_le),
            Operator::In => self.values.iter().any(|other| against(other) == Some(Ordering::Equal)),
            Operator::NotIn => self.values.iter().all(|other| against(other).is_some_and(Ordering::is_ne)),
            Operator::IsNull => false,
            Operator::NotNull => true,
        }
    }
}

fn moment(sql_type: SqlType, now: Timestamp, seconds: i64) -> Option<String> {
    let then = now.checked_sub(SignedDuration::from_secs(seconds)).ok()?;
    match sql_type {
        SqlType::Date => Some(then.to_zoned(TimeZone::UTC).date().to_string()),
        _ => Some(then.to_string()),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// `text` in the form that Postgres gets for a column of this type; nothing for one that it could not hold.
fn fit(sql_type: SqlType, text: &str) -> Option<String> {
    let kept = |fits: bool| fits.then(|| text.to_owned());
    match sql_type {
        SqlType::Text => kept(!text.contains('\0')),
        SqlType::Integer => kept(text.parse::<i32>().is_ok()),
        SqlType::BigInt => kept(text.parse::<i64>().is_ok()),
        SqlType::Numeric { .. } => scalar::decimal(text, 60, 30).ok(),
        SqlType::Double => kept(text.parse::<f64>().is_ok_and(f64::is_finite)),
        SqlType::Boolean => kept(matches!(text, "true" | "false")),
        SqlType::Date => scalar::date(text).ok(),
        SqlType::Timestamptz => scalar::date_time(text).ok(),
        SqlType::Time => scalar::time(text).ok(),
        SqlType::Uuid => scalar::uuid(text).ok(),
        SqlType::Jsonb => None,
    }
}

fn order(sql_type: SqlType, a: &str, b: &str) -> Option<Ordering> {
    match sql_type {
        SqlType::Text | SqlType::Date | SqlType::Time | SqlType::Boolean => Some(a.cmp(b)),
        SqlType::Uuid => Some(scalar::uuid(a).ok()?.cmp(&scalar::uuid(b).ok()?)),
        SqlType::Integer | SqlType::BigInt => Some(a.parse::<i64>().ok()?.cmp(&b.parse::<i64>().ok()?)),
        SqlType::Double => a.parse::<f64>().ok()?.partial_cmp(&b.parse::<f64>().ok()?),
        SqlType::Numeric { .. } => decimal_order(a, b),
        SqlType::Timestamptz => Some(a.parse::<Timestamp>().ok()?.cmp(&b.parse::<Timestamp>().ok()?)),
        SqlType::Jsonb => None,
    }
}

/// Exact, since a decimal may have more digits than any number of ours.
fn decimal_order(a: &str, b: &str) -> Option<Ordering> {
    let parts = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let numeric = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !digits.is_empty();
        let (whole, fraction) =
            (whole.trim_start_matches('0').to_owned(), fraction.trim_end_matches('0').to_owned());
        let negative = text.starts_with('-') && !(whole.is_empty() && fraction.is_empty());
        numeric.then_some((negative, whole, fraction))
    };
    let ((a_negative, a_whole, a_fraction), (b_negative, b_whole, b_fraction)) = (parts(a)?, parts(b)?);
    let size = a_whole
        .len()
        .cmp(&b_whole.len())
        .then_with(|| a_whole.cmp(&b_whole))
        .then_with(|| a_fraction.cmp(&b_fraction));
    Some(match (a_negative, b_negative) {
        (false, false) => size,
        (true, true) => size.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}
