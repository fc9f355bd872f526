//! Values in filters.

use tenantry_crds::definition::FieldKind;
use tenantry_migrations::layout::SqlType;

use crate::data::{model::ColumnModel, validate::scalar};

/// Bytes of a text that is compared with.
const MAX_TEXT: usize = 2000;

/// `text` in the form that Postgres gets for `column`, or what to write instead.
pub(super) fn of_column(column: &ColumnModel, text: &str) -> Result<String, String> {
    let kept =
        |wanted: bool, message: &str| if wanted { Ok(text.to_owned()) } else { Err(message.to_owned()) };
    if let Some(FieldKind::Enum { values }) = column.field().map(|field| &field.kind) {
        return kept(values.iter().any(|v| v == text), &format!("use one of {}", values.join(", ")));
    }
    match column.sql_type {
        SqlType::Text => kept(
            text.len() <= MAX_TEXT && !text.contains('\0'),
            "use a text of at most 2000 bytes without the character NUL",
        ),
        SqlType::Integer => kept(text.parse::<i32>().is_ok(), "use an integer of 32 bits"),
        SqlType::BigInt => kept(text.parse::<i64>().is_ok(), "use an integer of 64 bits"),
        SqlType::Numeric { .. } => {
            scalar::decimal(text, 60, 30).map_err(|_| "use a decimal, as 12.50".to_owned())
        }
        SqlType::Double => kept(text.parse::<f64>().is_ok_and(f64::is_finite), "use a finite number"),
        SqlType::Boolean => kept(matches!(text, "true" | "false"), "use true or false"),
        SqlType::Date => Ok(scalar::date(text)?),
        SqlType::Timestamptz => Ok(scalar::date_time(text)?),
        SqlType::Time => Ok(scalar::time(text)?),
        SqlType::Uuid => Ok(scalar::uuid(text)?),
        SqlType::Jsonb => Err("a field that holds JSON or a list can only be tested with is.null".to_owned()),
    }
}
