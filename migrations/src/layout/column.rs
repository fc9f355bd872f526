//! Columns.

use serde_json::Value;
use tenantry_crds::definition::{DocType, Field, FieldKind};

use super::SqlType;
use crate::sql::Literal;

/// A column of a document table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The name.
    pub name: String,
    /// The type, as `format_type` of Postgres writes it.
    pub sql_type: SqlType,
    /// Whether the definition asks for a value.
    pub not_null: bool,
    /// What the column holds when a row does not say.
    pub default: Option<DefaultValue>,
    /// The texts allowed, for a check constraint.
    pub one_of: Option<Vec<String>>,
}

/// A column default.
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// A value of the definition, as a literal of the column's type.
    Literal(String),
    /// `now()`.
    Now,
}

/// The columns that every document table has, in order.
pub const PLATFORM_COLUMNS: [&str; 7] =
    ["id", "version", "created_at", "updated_at", "created_by", "updated_by", "extra"];

impl Column {
    pub(super) fn of(field: &Field, sql_type: SqlType) -> Self {
        Self {
            name: field.name.as_str().to_owned(),
            sql_type,
            not_null: field.required,
            default: field.default.as_ref().map(|value| DefaultValue::Literal(literal(value, sql_type))),
            one_of: match &field.kind {
                FieldKind::Enum { values } => Some(values.clone()),
                _ => None,
            },
        }
    }

    fn platform(name: &str, sql_type: SqlType, default: Option<DefaultValue>) -> Self {
        Self { name: name.to_owned(), sql_type, not_null: true, default, one_of: None }
    }
}

pub(super) fn platform_columns(doc_type: &DocType) -> Vec<Column> {
    let number = |text: &str| Some(DefaultValue::Literal(text.to_owned()));
    let of = |name: &str| match name {
        "id" => Column::platform(name, SqlType::of_id(&doc_type.naming), None),
        "version" => Column::platform(name, SqlType::BigInt, number("1")),
        "created_at" | "updated_at" => Column::platform(name, SqlType::Timestamptz, Some(DefaultValue::Now)),
        "extra" => Column::platform(name, SqlType::Jsonb, number("'{}'")),
        _ => Column::platform(name, SqlType::Text, None),
    };
    let mut columns: Vec<Column> = PLATFORM_COLUMNS.map(of).into();
    if doc_type.soft_delete {
        let deleted_at = Column::platform(DocType::DELETED_AT, SqlType::Timestamptz, None);
        columns.push(Column { not_null: false, ..deleted_at });
    }
    columns
}

/// `value` as a literal. The definition was compiled, so the value is of the column's type.
fn literal(value: &Value, sql_type: SqlType) -> String {
    match (value, sql_type) {
        (value, SqlType::Jsonb) => Literal(&value.to_string()).to_string(),
        (Value::String(text), _) => Literal(text).to_string(),
        (other, _) => other.to_string(),
    }
}
