//! Fields.

use serde_json::Value;

use super::error::DefinitionError;
use crate::{
    names::{AppName, DocTypeName, FieldName},
    v1alpha1::{FieldSpec, FieldType, OnDelete},
};

/// A validated field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The name, which is also the column.
    pub name: FieldName,
    /// What it holds.
    pub kind: FieldKind,
    /// Whether a document must have a value.
    pub required: bool,
    /// Whether no two documents may have the same value.
    pub unique: bool,
    /// Whether an index serves it.
    pub index: bool,
    /// The value when none is given, already checked against `kind`.
    pub default: Option<Value>,
    /// Whether requests may not set it.
    pub read_only: bool,
    /// Whether no answer ever shows it. Always so for [`FieldKind::Secret`].
    pub write_only: bool,
    /// What becomes of the document when the one that it refers to is deleted. Of references only.
    pub on_delete: OnDelete,
}

/// What a field holds, with the bounds that apply to it.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the variants are those of `FieldType`, their members those of `FieldSpec`")]
pub enum FieldKind {
    String { max_length: u32, pattern: Option<String> },
    Text { max_length: Option<u32>, pattern: Option<String> },
    Integer { min: Option<f64>, max: Option<f64> },
    BigInt { min: Option<f64>, max: Option<f64> },
    Decimal { precision: u32, scale: u32, min: Option<f64>, max: Option<f64> },
    Float { min: Option<f64>, max: Option<f64> },
    Boolean,
    Date,
    DateTime,
    Time,
    Uuid,
    Email { max_length: u32 },
    Url { max_length: u32 },
    Enum { values: Vec<String> },
    Json,
    Reference(ReferenceTarget),
    List { items: Vec<Field> },
    Secret { max_length: u32 },
    File,
}

/// The document type that a Reference points to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReferenceTarget {
    /// The App that has it.
    pub app: AppName,
    /// The document type.
    pub doc_type: DocTypeName,
}

impl Field {
    pub(super) fn compile(app: &AppName, path: &str, spec: &FieldSpec) -> Result<Self, DefinitionError> {
        let wrong = |problem: &dyn std::fmt::Display| DefinitionError::new(path, problem);
        let name = FieldName::new(&spec.name).map_err(|e| wrong(&e))?;
        let kind = FieldKind::compile(app, path, spec)?;
        if spec.default.as_ref().is_some_and(|value| !kind.accepts_default(value)) {
            return Err(wrong(&format!(
                "default: not a value of type {:?} within its bounds",
                spec.field_type
            )));
        }
        if (spec.unique || spec.index) && !kind.is_indexable() {
            return Err(wrong(&format!("unique, index: not possible for type {:?}", spec.field_type)));
        }
        let refers = matches!(kind, FieldKind::Reference(_) | FieldKind::File);
        match spec.on_delete {
            Some(_) if !refers => return Err(wrong(&"onDelete: belongs to Reference and File")),
            Some(OnDelete::SetNull) if spec.required => {
                return Err(wrong(
                    &"onDelete: SetNull would empty a required field; use Restrict or Cascade",
                ));
            }
            _ => {}
        }
        Ok(Self {
            name,
            on_delete: spec.on_delete.unwrap_or_default(),
            write_only: spec.write_only || matches!(kind, FieldKind::Secret { .. }),
            kind,
            required: spec.required,
            unique: spec.unique,
            index: spec.index,
            default: spec.default.clone(),
            read_only: spec.read_only,
        })
    }
}

/// Characters of a one-line text when the definition does not say.
const LINE_MAX: u32 = 140;
/// Characters of an e-mail address, from RFC 5321.
const EMAIL_MAX: u32 = 254;
/// Characters of a URL.
const URL_MAX: u32 = 2048;
/// Characters of a Secret.
const SECRET_MAX: u32 = 4096;
/// Digits of a Decimal when the definition does not say.
const DECIMAL_DIGITS: u32 = 18;

impl FieldKind {
    fn compile(app: &AppName, path: &str, spec: &FieldSpec) -> Result<Self, DefinitionError> {
        let wrong = |problem: String| DefinitionError::new(path, problem);
        let (min, max) = (spec.min, spec.max);
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            return Err(wrong("min must not be above max".into()));
        }
        let line = |usual| spec.max_length.unwrap_or(usual);
        let pattern = spec.pattern.clone();
        Ok(match spec.field_type {
            FieldType::String => Self::String { max_length: line(LINE_MAX), pattern },
            FieldType::Text => Self::Text { max_length: spec.max_length, pattern },
            FieldType::Integer => Self::Integer { min, max },
            FieldType::BigInt => Self::BigInt { min, max },
            FieldType::Decimal => {
                let (precision, scale) = (spec.precision.unwrap_or(DECIMAL_DIGITS), spec.scale.unwrap_or(0));
                if scale > precision {
                    return Err(wrong("scale must not be above precision".into()));
                }
                Self::Decimal { precision, scale, min, max }
            }
            FieldType::Float => Self::Float { min, max },
            FieldType::Boolean => Self::Boolean,
            FieldType::Date => Self::Date,
            FieldType::DateTime => Self::DateTime,
            FieldType::Time => Self::Time,
            FieldType::Uuid => Self::Uuid,
            FieldType::Email => Self::Email { max_length: line(EMAIL_MAX) },
            FieldType::Url => Self::Url { max_length: line(URL_MAX) },
            FieldType::Enum if spec.values.is_empty() => {
                return Err(wrong("values: needed with type Enum".into()));
            }
            FieldType::Enum => Self::Enum { values: spec.values.clone() },
            FieldType::Json => Self::Json,
            FieldType::Reference => Self::Reference(ReferenceTarget::compile(app, path, spec.to.as_deref())?),
            FieldType::List if spec.fields.is_empty() => {
                return Err(wrong("fields: needed with type List".into()));
            }
            FieldType::List => Self::List { items: compile_items(app, path, spec)? },
            FieldType::Secret => Self::Secret { max_length: line(SECRET_MAX) },
            FieldType::File => Self::File,
        })
    }

    fn is_indexable(&self) -> bool {
        !matches!(self, Self::Text { .. } | Self::Json | Self::List { .. } | Self::Secret { .. })
    }

    /// Whether `value` can stand as a column default. Types whose text form Postgres alone can judge (dates, UUIDs) take
    /// none: a wrong default would fail each tenant's tables instead of this check.
    fn accepts_default(&self, value: &Value) -> bool {
        let within = |min: &Option<f64>, max: &Option<f64>, n: f64| {
            min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max)
        };
        match self {
            Self::String { max_length, .. } | Self::Email { max_length } | Self::Url { max_length } => {
                value.as_str().is_some_and(|text| text.chars().count() <= *max_length as usize)
            }
            Self::Text { max_length, .. } => value
                .as_str()
                .is_some_and(|text| max_length.is_none_or(|max| text.chars().count() <= max as usize)),
            Self::Integer { min, max } => value
                .as_i64()
                .and_then(|n| i32::try_from(n).ok())
                .is_some_and(|n| within(min, max, f64::from(n))),
            Self::BigInt { min, max } => value.as_i64().is_some_and(|n| within(min, max, n as f64)),
            Self::Decimal { precision, scale, min, max } => value.as_f64().is_some_and(|n| {
                n.abs() < 10_f64.powi((*precision - *scale).cast_signed()) && within(min, max, n)
            }),
            Self::Float { min, max } => value.as_f64().is_some_and(|n| within(min, max, n)),
            Self::Boolean => value.is_boolean(),
            Self::Enum { values } => value.as_str().is_some_and(|text| values.iter().any(|v| v == text)),
            Self::Json => true,
            Self::List { .. } => value.as_array().is_some_and(Vec::is_empty),
            Self::Date
            | Self::DateTime
            | Self::Time
            | Self::Uuid
            | Self::Reference(_)
            | Self::Secret { .. }
            | Self::File => false,
        }
    }
}

fn compile_items(app: &AppName, path: &str, spec: &FieldSpec) -> Result<Vec<Field>, DefinitionError> {
    spec.fields
        .iter()
        .map(|item| {
            let inner = format!("{path}.fields[{}]", item.name);
            match item.field_type {
                FieldType::List | FieldType::Reference | FieldType::File | FieldType::Secret => {
                    Err(DefinitionError::new(
                        inner,
                        "an item of a List cannot hold List, Reference, File or Secret",
                    ))
                }
                _ => Field::compile(app, &inner, &item.clone().into()),
            }
        })
        .collect()
}

impl ReferenceTarget {
    fn compile(app: &AppName, path: &str, to: Option<&str>) -> Result<Self, DefinitionError> {
        let wrong = |problem: &dyn std::fmt::Display| DefinitionError::new(path, format!("to: {problem}"));
        let to = to.ok_or_else(|| wrong(&"needed with type Reference"))?;
        let (app, doc_type) = match to.split_once('.') {
            Some((other, doc_type)) => (AppName::new(other).map_err(|e| wrong(&e))?, doc_type),
            None => (app.clone(), to),
        };
        Ok(Self { app, doc_type: DocTypeName::new(doc_type).map_err(|e| wrong(&e))? })
    }
}
