//! Column types.

use std::fmt;

use tenantry_crds::definition::{FieldKind, Naming};

/// The type of a column. No enum, domain or composite types of a tenant's own: drivers cache such types by name, and two
/// tenants would meet in one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the names of Postgres types")]
pub enum SqlType {
    Text,
    Integer,
    BigInt,
    Numeric { precision: u32, scale: u32 },
    Double,
    Boolean,
    Date,
    Timestamptz,
    Time,
    Uuid,
    Jsonb,
}

impl SqlType {
    /// The type of a field that is no reference.
    pub(super) fn of(kind: &FieldKind) -> Self {
        match kind {
            FieldKind::String { .. }
            | FieldKind::Text { .. }
            | FieldKind::Email { .. }
            | FieldKind::Url { .. }
            | FieldKind::Enum { .. }
            | FieldKind::Secret { .. } => Self::Text,
            FieldKind::Integer { .. } => Self::Integer,
            FieldKind::BigInt { .. } => Self::BigInt,
            FieldKind::Decimal { precision, scale, .. } => {
                Self::Numeric { precision: *precision, scale: *scale }
            }
            FieldKind::Float { .. } => Self::Double,
            FieldKind::Boolean => Self::Boolean,
            FieldKind::Date => Self::Date,
            FieldKind::DateTime => Self::Timestamptz,
            FieldKind::Time => Self::Time,
            FieldKind::Json | FieldKind::List { .. } => Self::Jsonb,
            FieldKind::Uuid | FieldKind::Reference(_) | FieldKind::File => Self::Uuid,
        }
    }

    /// The type of the id of documents with this naming, and of references to them.
    pub fn of_id(naming: &Naming) -> Self {
        match naming {
            Naming::Uuid => Self::Uuid,
            Naming::Series(_) | Naming::Field(_) => Self::Text,
        }
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Integer => f.write_str("integer"),
            Self::BigInt => f.write_str("bigint"),
            Self::Numeric { precision, scale } => write!(f, "numeric({precision},{scale})"),
            Self::Double => f.write_str("double precision"),
            Self::Boolean => f.write_str("boolean"),
            Self::Date => f.write_str("date"),
            Self::Timestamptz => f.write_str("timestamp with time zone"),
            Self::Time => f.write_str("time without time zone"),
            Self::Uuid => f.write_str("uuid"),
            Self::Jsonb => f.write_str("jsonb"),
        }
    }
}
