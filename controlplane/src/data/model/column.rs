//! One column.

use std::borrow::Cow;

use tenantry_crds::definition::{Field, FieldKind};
use tenantry_migrations::layout::{Column, SqlType};

use super::doc::EXTRA;
use crate::data::validate::{Form, Format, Shape};

/// A column of a document type.
#[derive(Debug)]
pub struct ColumnModel {
    /// The name: of the column, of the member in JSON, of the parameter in a query.
    pub name: String,
    /// The type.
    pub sql_type: SqlType,
    /// Whether it never holds NULL.
    pub not_null: bool,
    /// What it is for.
    pub role: Role,
    /// How a value becomes JSON.
    pub encoding: Encoding,
    /// Whether values are sealed before they are stored.
    pub sealed: bool,
    /// `"name":`, as it stands in every document.
    pub(in crate::data) json_key: String,
}

/// What a column is for.
#[derive(Debug)]
pub enum Role {
    /// Kept by the platform; requests may read it.
    Platform,
    /// An object with whatever the definition does not declare.
    Extra(Shape),
    /// A field of the definition, with the shape of its values.
    Field(Box<Field>, Shape),
}

/// How the text form of a value becomes JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is: integers and JSON.
    Plain,
    /// A float, which may be none that JSON knows.
    Float,
    /// In quotes, with nothing to escape: UUIDs, dates, times and decimals.
    Quoted,
    /// In quotes, escaped.
    Text,
    /// In quotes, as RFC 3339.
    Timestamp,
    /// `t` or `f`.
    Boolean,
}

impl Encoding {
    fn of(sql_type: SqlType) -> Self {
        match sql_type {
            SqlType::Text => Self::Text,
            SqlType::Integer | SqlType::BigInt | SqlType::Jsonb => Self::Plain,
            SqlType::Double => Self::Float,
            // As text, since a reader of JSON numbers may round them.
            SqlType::Numeric { .. } | SqlType::Date | SqlType::Time | SqlType::Uuid => Self::Quoted,
            SqlType::Timestamptz => Self::Timestamp,
            SqlType::Boolean => Self::Boolean,
        }
    }
}

impl ColumnModel {
    pub(super) fn new(column: &Column, field: Option<&Field>) -> Self {
        Self {
            name: column.name.clone(),
            sql_type: column.sql_type,
            not_null: column.not_null,
            role: match field {
                None if column.name == EXTRA => Role::Extra(Shape::object()),
                None => Role::Platform,
                Some(field) => Role::Field(Box::new(field.clone()), Shape::of(field, column.sql_type)),
            },
            encoding: Encoding::of(column.sql_type),
            sealed: field.is_some_and(|field| matches!(field.kind, FieldKind::Secret { .. })),
            json_key: format!("\"{}\":", column.name),
        }
    }

    /// The same column, of whose values `format` decides as well.
    pub(super) fn in_format(mut self, format: Format) -> Self {
        if let Role::Field(_, shape) = &mut self.role {
            shape.set_format(format);
        }
        self
    }

    /// The same column, whose values are kept and compared in the form that `form` gives them.
    pub(super) fn in_form(mut self, form: Form) -> Self {
        if let Role::Field(_, shape) = &mut self.role {
            shape.set_form(form);
        }
        self
    }

    /// `text` in the form in which the column's values are kept.
    pub fn formed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.role {
            Role::Field(_, shape) => shape.formed(text),
            Role::Platform | Role::Extra(_) => Cow::Borrowed(text),
        }
    }

    /// The same column, whose values are no secrets but digests of some: there is nothing to seal.
    pub(super) fn of_digests(mut self) -> Self {
        self.sealed = false;
        self
    }

    /// The field, unless the platform keeps the column.
    pub fn field(&self) -> Option<&Field> {
        match &self.role {
            Role::Platform | Role::Extra(_) => None,
            Role::Field(field, _) => Some(field),
        }
    }

    /// Whether answers show it.
    pub fn is_readable(&self) -> bool {
        self.field().is_none_or(|field| !field.write_only)
    }

    /// The type that a parameter is cast to. A decimal has no bounds there: a cast that rounds would change what a filter
    /// compares with.
    pub fn cast(&self) -> &'static str {
        match self.sql_type {
            SqlType::Text => "text",
            SqlType::Integer => "integer",
            SqlType::BigInt => "bigint",
            SqlType::Numeric { .. } => "numeric",
            SqlType::Double => "double precision",
            SqlType::Boolean => "boolean",
            SqlType::Date => "date",
            SqlType::Timestamptz => "timestamptz",
            SqlType::Time => "time",
            SqlType::Uuid => "uuid",
            SqlType::Jsonb => "jsonb",
        }
    }
}
