//! What values a field takes.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};
use serde_json::{Map, Number, Value};
use tenantry_crds::definition::{Field, FieldKind};
use tenantry_migrations::layout::SqlType;

use super::{MAX_DEPTH, MAX_ERRORS, scalar};
use crate::{auth::address, error::FieldError};

/// Items that a List may have.
const MAX_ITEMS: usize = 1000;
/// Members of an object that nothing declares, and its bytes.
const MAX_MEMBERS: usize = 200;
const MAX_EXTRA: usize = 64 * 1024;
/// Characters of an id that is text.
const MAX_ID: usize = 255;
/// Bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 1024 * 1024;

/// What values a field takes, compiled once.
#[derive(Debug)]
pub struct Shape(Kind);

#[derive(Debug)]
enum Kind {
    Text { max_length: Option<usize>, pattern: Option<Pattern>, format: Option<Format>, form: Option<Form> },
    OneOf(Vec<String>),
    Integer { least: i64, most: i64, bounds: Bounds },
    Decimal { precision: u32, scale: u32, bounds: Bounds },
    Float(Bounds),
    Boolean,
    Date,
    DateTime,
    Time,
    Uuid,
    Json,
    Object,
    List(Vec<Item>),
}

/// What of a text's form is no matter of its length or a pattern: the error says what is wrong.
pub type Format = fn(&str) -> Result<(), &'static str>;

/// The one form of a text that can be written in several ways.
pub type Form = fn(&str) -> String;

#[derive(Debug)]
struct Bounds {
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug)]
struct Item {
    field: Field,
    shape: Shape,
}

/// A pattern that the whole text must match.
#[derive(Debug)]
struct Pattern {
    text: String,
    /// Nothing when the definition's pattern cannot be read: then no text is right, since none can be checked.
    regex: Option<Regex>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let regex = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(MAX_PATTERN).build();
        if let Err(error) = &regex {
            tracing::error!(pattern = text, %error, "a field's pattern cannot be read; no value will be accepted");
        }
        Self { text: text.to_owned(), regex: regex.ok() }
    }
}

impl Bounds {
    fn check(&self, number: f64) -> Result<(), String> {
        match (self.min, self.max) {
            (Some(min), _) if number < min => Err(format!("must be at least {min}")),
            (_, Some(max)) if number > max => Err(format!("must be at most {max}")),
            _ => Ok(()),
        }
    }
}

impl Shape {
    /// The shape of `field`. A reference has the type of the id that it refers to, which only the column knows.
    pub fn of(field: &Field, sql_type: SqlType) -> Self {
        let text = |max_length: Option<u32>, pattern: Option<&String>, format| Kind::Text {
            max_length: max_length.map(|max| max as usize),
            pattern: pattern.map(|pattern| Pattern::new(pattern)),
            format,
            form: None,
        };
        let bounds = |min: &Option<f64>, max: &Option<f64>| Bounds { min: *min, max: *max };
        Self(match &field.kind {
            FieldKind::String { max_length, pattern } => text(Some(*max_length), pattern.as_ref(), None),
            FieldKind::Text { max_length, pattern } => text(*max_length, pattern.as_ref(), None),
            FieldKind::Secret { max_length } => text(Some(*max_length), None, None),
            FieldKind::Email { max_length } => text(Some(*max_length), None, Some(address::check)),
            FieldKind::Url { max_length } => text(Some(*max_length), None, Some(scalar::url)),
            FieldKind::Enum { values } => Kind::OneOf(values.clone()),
            FieldKind::Integer { min, max } => {
                Kind::Integer { least: i32::MIN.into(), most: i32::MAX.into(), bounds: bounds(min, max) }
            }
            FieldKind::BigInt { min, max } => {
                Kind::Integer { least: i64::MIN, most: i64::MAX, bounds: bounds(min, max) }
            }
            FieldKind::Decimal { precision, scale, min, max } => {
                Kind::Decimal { precision: *precision, scale: *scale, bounds: bounds(min, max) }
            }
            FieldKind::Float { min, max } => Kind::Float(bounds(min, max)),
            FieldKind::Boolean => Kind::Boolean,
            FieldKind::Date => Kind::Date,
            FieldKind::DateTime => Kind::DateTime,
            FieldKind::Time => Kind::Time,
            FieldKind::Uuid => Kind::Uuid,
            FieldKind::Json => Kind::Json,
            FieldKind::Reference(_) | FieldKind::File if sql_type == SqlType::Uuid => Kind::Uuid,
            FieldKind::Reference(_) | FieldKind::File => {
                Kind::Text { max_length: Some(MAX_ID), pattern: None, format: None, form: None }
            }
            FieldKind::List { items } => Kind::List(
                // Items are JSON inside of one column, and no reference can be among them.
                items
                    .iter()
                    .map(|field| Item { field: field.clone(), shape: Self::of(field, SqlType::Jsonb) })
                    .collect(),
            ),
        })
    }

    /// Has `format` decide on texts, too.
    pub fn set_format(&mut self, wanted: Format) {
        if let Kind::Text { format, .. } = &mut self.0 {
            *format = Some(wanted);
        }
    }

    /// Keeps texts in `wanted`, whichever way they were written.
    pub fn set_form(&mut self, wanted: Form) {
        if let Kind::Text { form, .. } = &mut self.0 {
            *form = Some(wanted);
        }
    }

    /// `text` in the form in which it is kept.
    pub fn formed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.0 {
            Kind::Text { form: Some(form), .. } => Cow::Owned(form(text)),
            _ => Cow::Borrowed(text),
        }
    }

    /// A JSON object with anything in it, of a bounded size.
    pub const fn object() -> Self {
        Self(Kind::Object)
    }

    /// Checks `value`, which is not null; yields it in its one form, or adds what is wrong to `errors`.
    pub fn check(&self, value: &Value, at: &str, errors: &mut Vec<FieldError>) -> Option<Value> {
        if let Kind::List(items) = &self.0 {
            return list(items, value, at, errors);
        }
        match self.scalar(value) {
            Ok(value) => Some(value),
            Err(message) => {
                report(errors, at, message);
                None
            }
        }
    }

    /// The text form of a value that [`Self::check`] yielded.
    pub fn parameter(&self, value: Value) -> String {
        match (&self.0, value) {
            (Kind::Json | Kind::Object | Kind::List(_), value) => value.to_string(),
            (_, Value::String(text)) => text,
            (_, value) => value.to_string(),
        }
    }

    fn scalar(&self, value: &Value) -> Result<Value, String> {
        match (&self.0, value) {
            (Kind::Json | Kind::List(_), value) => json(value, 0).map(|()| value.clone()),
            (Kind::Object, Value::Object(members)) if members.len() <= MAX_MEMBERS => {
                json(value, 0)?;
                if value.to_string().len() > MAX_EXTRA {
                    return Err(format!("must have at most {MAX_EXTRA} bytes"));
                }
                Ok(value.clone())
            }
            (Kind::Boolean, Value::Bool(_)) => Ok(value.clone()),
            (Kind::Integer { .. } | Kind::Float(_), Value::Number(number)) => {
                self.number(number).map(|()| value.clone())
            }
            (Kind::Decimal { .. }, Value::Number(number)) => {
                self.text(&number.to_string()).map(Value::String)
            }
            // A decimal is text in answers, so that text comes back.
            (
                Kind::Text { .. }
                | Kind::OneOf(_)
                | Kind::Decimal { .. }
                | Kind::Date
                | Kind::DateTime
                | Kind::Time
                | Kind::Uuid,
                Value::String(text),
            ) => self.text(text).map(Value::String),
            _ => Err(format!("must be {}", self.wanted())),
        }
    }

    fn text(&self, text: &str) -> Result<String, String> {
        match &self.0 {
            Kind::Text { max_length, pattern, format, .. } => {
                no_nul(text)?;
                let formed = self.formed(text);
                let text = formed.as_ref();
                if let Some(max) = max_length.filter(|max| text.len() > *max && text.chars().count() > *max) {
                    return Err(format!("must have at most {max} characters"));
                }
                if let Some(Pattern { text: wanted, regex }) = pattern
                    && !regex.as_ref().is_some_and(|regex| regex.is_match(text))
                {
                    return Err(format!("must match the pattern {wanted}"));
                }
                format.map_or(Ok(()), |format| format(text))?;
                Ok(text.to_owned())
            }
            Kind::OneOf(values) if values.iter().any(|value| value == text) => Ok(text.to_owned()),
            Kind::OneOf(_) => Err(format!("must be {}", self.wanted())),
            Kind::Decimal { precision, scale, bounds } => {
                let decimal = scalar::decimal(text, *precision, *scale)?;
                bounds.check(decimal.parse().unwrap_or(f64::NAN))?;
                Ok(decimal)
            }
            Kind::Date => Ok(scalar::date(text)?),
            Kind::DateTime => Ok(scalar::date_time(text)?),
            Kind::Time => Ok(scalar::time(text)?),
            Kind::Uuid => Ok(scalar::uuid(text)?),
            _ => Err(format!("must be {}", self.wanted())),
        }
    }

    fn number(&self, number: &Number) -> Result<(), String> {
        match &self.0 {
            Kind::Integer { least, most, bounds } => {
                let within = number.as_i64().filter(|n| (least..=most).contains(&n));
                let number = within.ok_or_else(|| format!("must be {}", self.wanted()))?;
                bounds.check(number as f64)
            }
            Kind::Float(bounds) => {
                bounds.check(number.as_f64().filter(|n| n.is_finite()).ok_or("must be a finite number")?)
            }
            _ => Err(format!("must be {}", self.wanted())),
        }
    }

    fn wanted(&self) -> String {
        match &self.0 {
            Kind::Text { .. } => "a text".into(),
            Kind::OneOf(values) => format!("one of {}", values.join(", ")),
            Kind::Integer { least, most, .. } => format!("an integer from {least} to {most}"),
            Kind::Decimal { .. } => "a decimal, as text".into(),
            Kind::Float(_) => "a number".into(),
            Kind::Boolean => "true or false".into(),
            Kind::Date => "a date, as text".into(),
            Kind::DateTime => "a time in RFC 3339, as text".into(),
            Kind::Time => "a time of day, as text".into(),
            Kind::Uuid => "a UUID, as text".into(),
            Kind::Json => "JSON".into(),
            Kind::Object => format!("an object with at most {MAX_MEMBERS} members"),
            Kind::List(_) => "an array of objects".into(),
        }
    }
}

fn list(items: &[Item], value: &Value, at: &str, errors: &mut Vec<FieldError>) -> Option<Value> {
    let Value::Array(rows) = value else {
        report(errors, at, "must be an array of objects".into());
        return None;
    };
    if rows.len() > MAX_ITEMS {
        report(errors, at, format!("must have at most {MAX_ITEMS} items"));
        return None;
    }
    let before = errors.len();
    let checked: Vec<Value> =
        rows.iter().enumerate().map(|(n, row)| item(items, row, &format!("{at}/{n}"), errors)).collect();
    (errors.len() == before).then_some(Value::Array(checked))
}

fn item(items: &[Item], row: &Value, at: &str, errors: &mut Vec<FieldError>) -> Value {
    let Value::Object(members) = row else {
        report(errors, at, "must be an object".into());
        return Value::Null;
    };
    for name in members.keys().filter(|name| !items.iter().any(|item| item.field.name.as_str() == *name)) {
        report(errors, &pointer(at, name), "is no field of this list".into());
    }
    let mut checked = Map::new();
    for Item { field, shape } in items {
        let (name, at) = (field.name.as_str(), pointer(at, field.name.as_str()));
        let value = match members.get(name) {
            None => field.default.as_ref(),
            Some(value) => Some(value).filter(|value| !value.is_null()),
        };
        match value {
            Some(value) => {
                if let Some(value) = shape.check(value, &at, errors) {
                    checked.insert(name.to_owned(), value);
                }
            }
            None if field.required => report(errors, &at, "is required".into()),
            None => {}
        }
    }
    Value::Object(checked)
}

/// JSON that Postgres can keep: no NUL in a text, and not too deep.
fn json(value: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("must not go deeper than {MAX_DEPTH} levels"));
    }
    match value {
        Value::String(text) => no_nul(text),
        Value::Array(items) => items.iter().try_for_each(|item| json(item, depth + 1)),
        Value::Object(members) => {
            members.iter().try_for_each(|(name, member)| no_nul(name).and_then(|()| json(member, depth + 1)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn no_nul(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("must not contain the character NUL".into()) } else { Ok(()) }
}

/// The JSON Pointer of the member `name` of what `at` points to.
pub(super) fn pointer(at: &str, name: &str) -> String {
    let name: String = name.chars().take(100).collect();
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

pub(super) fn report(errors: &mut Vec<FieldError>, at: &str, message: String) {
    if errors.len() < MAX_ERRORS {
        errors.push(FieldError { pointer: at.to_owned(), message });
    }
}
