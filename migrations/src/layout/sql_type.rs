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
            Naming::Series(_) | Naming::Gapless(_) | Naming::Field(_) => Self::Text,
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

/// What it means for the rows of a column when its type changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeChange {
    /// It is the same type.
    None,
    /// Every value fits, and Postgres changes the catalog only.
    Widens,
    /// Every value fits, and Postgres writes the table anew while its traffic waits.
    WidensByRewrite,
    /// Some values may not fit.
    Narrows,
    /// There is no meaning in it.
    Impossible,
}

impl SqlType {
    /// Reads what `format_type` writes; nothing for a type that no layout has.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = [
            Self::Text,
            Self::Integer,
            Self::BigInt,
            Self::Double,
            Self::Boolean,
            Self::Date,
            Self::Timestamptz,
            Self::Time,
            Self::Uuid,
            Self::Jsonb,
        ];
        plain.into_iter().find(|plain| plain.to_string() == text).or_else(|| {
            let (precision, scale) = text.strip_prefix("numeric(")?.strip_suffix(')')?.split_once(',')?;
            Some(Self::Numeric { precision: precision.parse().ok()?, scale: scale.parse().ok()? })
        })
    }

    /// What a change to `wanted` means.
    pub fn change_to(self, wanted: Self) -> TypeChange {
        use TypeChange::{Impossible, Narrows, None, Widens, WidensByRewrite};
        if self == wanted {
            return None;
        }
        match (self, wanted) {
            (Self::Numeric { precision: p, scale: s }, Self::Numeric { precision, scale }) if s == scale => {
                if precision >= p {
                    Widens
                } else {
                    Narrows
                }
            }
            (Self::Double, Self::Integer | Self::BigInt | Self::Numeric { .. }) => Narrows,
            // Beyond 15 digits a double loses some.
            (Self::Integer, Self::Double) => WidensByRewrite,
            (Self::BigInt | Self::Numeric { .. }, Self::Double) => Narrows,
            (Self::Integer | Self::BigInt | Self::Numeric { .. }, _) if wanted.digits().is_some() => {
                let fits = self.digits().zip(wanted.digits()).is_some_and(|(have, want)| want.holds(have));
                if fits { WidensByRewrite } else { Narrows }
            }
            (
                Self::Integer | Self::BigInt | Self::Numeric { .. } | Self::Uuid | Self::Boolean,
                Self::Text,
            ) => WidensByRewrite,
            (
                Self::Text,
                Self::Integer
                | Self::BigInt
                | Self::Numeric { .. }
                | Self::Double
                | Self::Boolean
                | Self::Uuid,
            ) => Narrows,
            _ => Impossible,
        }
    }

    fn digits(self) -> Option<Digits> {
        match self {
            // 2,147,483,647 and 9,223,372,036,854,775,807: not every number of so many digits, but every number has no more.
            Self::Integer => Some(Digits { before: 10, after: 0, all: false }),
            Self::BigInt => Some(Digits { before: 19, after: 0, all: false }),
            Self::Numeric { precision, scale } => {
                Some(Digits { before: precision.saturating_sub(scale), after: scale, all: true })
            }
            _ => None,
        }
    }
}

/// Digits before and after the point; `all` numbers of so many, or only some.
#[derive(Clone, Copy)]
struct Digits {
    before: u32,
    after: u32,
    all: bool,
}

impl Digits {
    fn holds(self, other: Self) -> bool {
        let before = match (self.all, other.all) {
            (true, _) | (false, false) => self.before >= other.before,
            (false, true) => self.before > other.before,
        };
        before && self.after >= other.after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn numeric(precision: u32, scale: u32) -> SqlType {
        SqlType::Numeric { precision, scale }
    }

    #[test]
    fn a_type_reads_back() {
        for sql_type in [SqlType::Text, SqlType::Timestamptz, SqlType::Double, numeric(18, 2)] {
            assert_eq!(SqlType::parse(&sql_type.to_string()), Some(sql_type));
        }
        assert_eq!(SqlType::parse("money"), None);
    }

    #[test]
    fn what_loses_nothing_widens() {
        use SqlType::{BigInt, Boolean, Date, Double, Integer, Jsonb, Text, Uuid};
        use TypeChange::{Impossible, Narrows, Widens, WidensByRewrite};
        for (from, to, expected) in [
            (Integer, BigInt, WidensByRewrite),
            (Integer, Double, WidensByRewrite),
            (BigInt, numeric(19, 0), WidensByRewrite),
            (BigInt, numeric(18, 0), Narrows),
            (Integer, numeric(12, 2), WidensByRewrite),
            (numeric(9, 0), Integer, WidensByRewrite),
            (numeric(10, 0), Integer, Narrows),
            (numeric(10, 2), numeric(18, 2), Widens),
            (numeric(18, 2), numeric(10, 2), Narrows),
            (numeric(18, 2), numeric(20, 4), WidensByRewrite),
            (numeric(18, 2), numeric(18, 4), Narrows),
            (numeric(18, 2), BigInt, Narrows),
            (BigInt, Integer, Narrows),
            (BigInt, Double, Narrows),
            (Uuid, Text, WidensByRewrite),
            (Text, Integer, Narrows),
            (Text, Date, Impossible),
            (Boolean, Integer, Impossible),
            (Jsonb, Text, Impossible),
        ] {
            assert_eq!(from.change_to(to), expected, "{from} to {to}");
        }
    }
}
