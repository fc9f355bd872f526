//! Who may do what with documents of a type.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    error::DefinitionError,
    field::{Field, FieldKind},
};
use crate::{
    names::RoleName,
    v1alpha1::{Action, AlternativeSpec, ComparisonSpec, ConditionSpec, Operator, PermissionSpec},
};

/// Values in one list at most.
const MAX_VALUES: usize = 100;
/// Characters of a value at most.
const MAX_CHARS: usize = 255;
/// Columns that the platform keeps and that rules can compare, beside the fields.
const TEXTS: [&str; 2] = ["created_by", "updated_by"];
const MOMENTS: [&str; 2] = ["created_at", "updated_at"];

/// What someone may do with documents of a type.
#[derive(Debug, Clone, PartialEq)]
pub struct Permission {
    /// Who.
    pub subject: Subject,
    /// The actions.
    pub allow: Vec<Action>,
    /// Which documents.
    pub rule: RowRule,
    /// The fields that are read; none given means all.
    pub readable: Option<BTreeSet<String>>,
    /// The fields that may be set; none given means all.
    pub writable: Option<BTreeSet<String>>,
}

/// Whom a permission is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Users who have this role of the app.
    Role(RoleName),
    /// Every user, for the documents that the rules select.
    Owner,
    /// The tenant's administrators.
    Admin,
}

/// Which documents something is about.
#[derive(Debug, Clone, PartialEq)]
pub enum RowRule {
    /// Those for which all of these hold; every document when there is none.
    All(Vec<RowRule>),
    /// Those for which one of these holds.
    Any(Vec<RowRule>),
    /// Those whose column compares so.
    Compare(Comparison),
}

/// A comparison of a column. One without a value meets only IsNull.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// A field, or a column that the platform keeps.
    pub column: String,
    /// How.
    pub operator: Operator,
    /// With what: several for In and NotIn, none for IsNull and NotNull, else one.
    pub operands: Vec<Operand>,
}

/// What a column is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// The caller's id.
    User,
    /// This moment.
    Now,
    /// A claim of the caller's token; a list of its values with In and NotIn.
    Claim(String),
    /// The text form of a value.
    Literal(String),
}

/// What values can be compared with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparable {
    Text,
    Id,
    Number,
    Boolean,
    Date,
    Moment,
}

impl RowRule {
    /// Every document.
    pub const fn everything() -> Self {
        Self::All(Vec::new())
    }

    /// The columns that are compared.
    pub fn columns(&self) -> BTreeSet<&str> {
        match self {
            Self::All(rules) | Self::Any(rules) => rules.iter().flat_map(Self::columns).collect(),
            Self::Compare(comparison) => BTreeSet::from([comparison.column.as_str()]),
        }
    }
}

impl Permission {
    pub(super) fn compile(
        path: &str,
        spec: &PermissionSpec,
        roles: &[RoleName],
        fields: &[Field],
    ) -> Result<Self, Vec<DefinitionError>> {
        let mut errors = Vec::new();
        let subject = match spec.role.as_str() {
            "admin" => Subject::Admin,
            "owner" => Subject::Owner,
            name => match roles.iter().find(|role| role.as_str() == name) {
                Some(role) => Subject::Role(role.clone()),
                None => {
                    errors.push(DefinitionError::new(path, format!("role: {name:?} is not in spec.roles")));
                    Subject::Admin
                }
            },
        };
        let mut rules = Vec::new();
        let mut keep = |result: Result<RowRule, DefinitionError>| match result {
            Ok(rule) => rules.push(rule),
            Err(error) => errors.push(error),
        };
        for (column, value) in &spec.row_match {
            let value = Value::String(value.clone());
            keep(compare(&format!("{path}.match"), fields, column, Operator::Eq, Some(&value)));
        }
        for (n, condition) in spec.conditions.iter().enumerate() {
            keep(self::condition(&format!("{path}.where[{n}]"), fields, condition));
        }
        if rules.is_empty() && subject == Subject::Owner {
            rules.push(RowRule::Compare(Comparison {
                column: "created_by".into(),
                operator: Operator::Eq,
                operands: vec![Operand::User],
            }));
        }
        let readable = names(path, "readable", spec.readable.as_deref(), fields, &mut errors);
        let writable = names(path, "writable", spec.writable.as_deref(), fields, &mut errors);
        if writable.is_some() && !spec.allow.iter().any(|a| matches!(a, Action::Create | Action::Update)) {
            errors.push(DefinitionError::new(path, "writable: needs Create or Update in allow"));
        }
        if readable.is_some() && !spec.allow.contains(&Action::Read) {
            errors.push(DefinitionError::new(path, "readable: needs Read in allow"));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { subject, allow: spec.allow.clone(), rule: RowRule::All(rules), readable, writable })
    }
}

fn names(
    path: &str,
    member: &str,
    listed: Option<&[String]>,
    fields: &[Field],
    errors: &mut Vec<DefinitionError>,
) -> Option<BTreeSet<String>> {
    let listed = listed?;
    for name in listed {
        let problem = match fields.iter().find(|field| field.name.as_str() == name) {
            Some(field) if member == "readable" && field.write_only => "is never shown to anybody",
            Some(field) if member == "writable" && field.read_only => "is readOnly: no request may set it",
            Some(_) => continue,
            None if name == "extra" => continue,
            None => "is no field of this document type",
        };
        let shown: String = name.chars().take(80).collect();
        errors.push(DefinitionError::new(path, format!("{member}: {shown:?} {problem}")));
    }
    Some(listed.iter().cloned().collect())
}

fn condition(path: &str, fields: &[Field], spec: &ConditionSpec) -> Result<RowRule, DefinitionError> {
    match &spec.field {
        Some(field) if spec.any.is_empty() => compare(path, fields, field, spec.op, spec.value.as_ref()),
        None if !spec.any.is_empty() => {
            let one =
                |(n, spec): (usize, &AlternativeSpec)| alternative(&format!("{path}.any[{n}]"), fields, spec);
            Ok(RowRule::Any(spec.any.iter().enumerate().map(one).collect::<Result<_, _>>()?))
        }
        _ => Err(DefinitionError::new(path, "give either a field with its value, or any")),
    }
}

fn alternative(path: &str, fields: &[Field], spec: &AlternativeSpec) -> Result<RowRule, DefinitionError> {
    match &spec.field {
        Some(field) if spec.all.is_empty() => compare(path, fields, field, spec.op, spec.value.as_ref()),
        None if !spec.all.is_empty() => {
            let one = |(n, spec): (usize, &ComparisonSpec)| {
                compare(&format!("{path}.all[{n}]"), fields, &spec.field, spec.op, spec.value.as_ref())
            };
            Ok(RowRule::All(spec.all.iter().enumerate().map(one).collect::<Result<_, _>>()?))
        }
        _ => Err(DefinitionError::new(path, "give either a field with its value, or all")),
    }
}

fn compare(
    path: &str,
    fields: &[Field],
    column: &str,
    operator: Operator,
    value: Option<&Value>,
) -> Result<RowRule, DefinitionError> {
    let wrong = |problem: String| DefinitionError::new(path, problem);
    let shown: String = column.chars().take(80).collect();
    let field = fields.iter().find(|field| field.name.as_str() == column);
    let comparable = match field {
        Some(field) => Comparable::of(&field.kind),
        None if TEXTS.contains(&column) => Some(Comparable::Text),
        None if MOMENTS.contains(&column) => Some(Comparable::Moment),
        None => None,
    };
    let comparable = comparable.ok_or_else(|| {
        let columns = "created_by, updated_by, created_at, updated_at or a field that holds text, an id, a number, a \
                       Boolean, a Date or a DateTime";
        wrong(format!("{shown:?} is not {columns}"))
    })?;
    let ordered = matches!(operator, Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte);
    if ordered && matches!(comparable, Comparable::Id | Comparable::Boolean) {
        return Err(wrong(format!("op: {operator:?} does not fit {shown}, which has no order")));
    }
    let operands = match (operator, value) {
        (Operator::IsNull | Operator::NotNull, None) => Vec::new(),
        (Operator::IsNull | Operator::NotNull, Some(_)) => {
            return Err(wrong(format!("value: {operator:?} takes none")));
        }
        (Operator::In | Operator::NotIn, Some(Value::Array(values))) => {
            if values.is_empty() || values.len() > MAX_VALUES {
                return Err(wrong(format!("value: give 1 to {MAX_VALUES} values")));
            }
            values
                .iter()
                .map(|value| operand(comparable, field, value))
                .collect::<Result<_, _>>()
                .map_err(|problem| wrong(format!("value: {problem}")))?
        }
        (Operator::In | Operator::NotIn, Some(Value::String(text))) if text.starts_with("@claims.") => {
            vec![
                operand(comparable, field, &Value::String(text.clone()))
                    .map_err(|problem| wrong(format!("value: {problem}")))?,
            ]
        }
        (Operator::In | Operator::NotIn, _) => {
            return Err(wrong(format!("value: {operator:?} takes a list, or @claims.NAME")));
        }
        (_, Some(value)) => {
            vec![operand(comparable, field, value).map_err(|problem| wrong(format!("value: {problem}")))?]
        }
        (_, None) => return Err(wrong(format!("value: needed with {operator:?}"))),
    };
    Ok(RowRule::Compare(Comparison { column: column.to_owned(), operator, operands }))
}

impl Comparable {
    fn of(kind: &FieldKind) -> Option<Self> {
        Some(match kind {
            FieldKind::String { .. }
            | FieldKind::Text { .. }
            | FieldKind::Email { .. }
            | FieldKind::Url { .. }
            | FieldKind::Enum { .. } => Self::Text,
            FieldKind::Uuid | FieldKind::Reference(_) | FieldKind::File => Self::Id,
            FieldKind::Integer { .. }
            | FieldKind::BigInt { .. }
            | FieldKind::Decimal { .. }
            | FieldKind::Float { .. } => Self::Number,
            FieldKind::Boolean => Self::Boolean,
            FieldKind::Date => Self::Date,
            FieldKind::DateTime => Self::Moment,
            FieldKind::Time | FieldKind::Json | FieldKind::List { .. } | FieldKind::Secret { .. } => {
                return None;
            }
        })
    }
}

fn operand(comparable: Comparable, field: Option<&Field>, value: &Value) -> Result<Operand, String> {
    use Comparable::{Boolean, Date, Id, Moment, Number, Text};
    if let Value::String(text) = value
        && let Some(variable) = text.strip_prefix('@')
    {
        return match (variable.split_once('.'), variable) {
            (None, "user") if matches!(comparable, Text | Id) => Ok(Operand::User),
            (None, "now") if matches!(comparable, Date | Moment) => Ok(Operand::Now),
            (Some(("claims", name)), _) if is_claim(name) => Ok(Operand::Claim(name.to_owned())),
            _ => Err(format!(
                "{:?} does not fit; @user stands for a text or an id, @now for a Date or DateTime, @claims.NAME for any",
                text.chars().take(80).collect::<String>()
            )),
        };
    }
    let literal = |text: String| Ok(Operand::Literal(text));
    match (comparable, value) {
        (_, Value::String(text)) if text.chars().count() > MAX_CHARS || text.contains('\0') => {
            Err(format!("use a text of at most {MAX_CHARS} characters"))
        }
        (Text, Value::String(text)) => match field.map(|field| &field.kind) {
            Some(FieldKind::Enum { values }) if !values.contains(text) => {
                Err(format!("{text:?} is not one of {}", values.join(", ")))
            }
            _ => literal(text.clone()),
        },
        (Id, Value::String(text)) if !text.is_empty() => literal(text.clone()),
        (Number, Value::Number(number)) => literal(number.to_string()),
        (Number, Value::String(text)) if is_decimal(text) => literal(text.clone()),
        (Boolean, Value::Bool(flag)) => literal(flag.to_string()),
        (Date, Value::String(text)) if is_date(text) => literal(text.clone()),
        (Moment, Value::String(text)) if is_moment(text) => literal(text.clone()),
        _ => Err(match comparable {
            Text => "use a text".to_owned(),
            Id => "use an id as text, or @user".to_owned(),
            Number => "use a number".to_owned(),
            Boolean => "use true or false".to_owned(),
            Date => "use a date as 2026-12-31, or @now".to_owned(),
            Moment => "use a time as 2026-12-31T23:59:59Z, or @now".to_owned(),
        }),
    }
}

fn is_claim(name: &str) -> bool {
    (1..=60).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(n, b)| if n == 4 || n == 7 { b == b'-' } else { b.is_ascii_digit() })
}

fn is_moment(text: &str) -> bool {
    text.get(..10).is_some_and(is_date) && text.as_bytes().get(10) == Some(&b'T') && text.ends_with('Z')
}
