//! Values in filters.

use serde_json::Value;
use tenantry_crds::definition::FieldKind;
use tenantry_migrations::layout::SqlType;

use super::{subject::Kind, text};
use crate::data::{model::ColumnModel, validate::scalar};

/// Bytes of a text that is compared with.
const MAX_TEXT: usize = 2000;
/// Bytes of JSON that is compared with.
const MAX_JSON: usize = 8000;

/// `text` in the form that Postgres gets for a subject of this kind, or what to write instead.
pub(super) fn of(kind: Kind<'_>, text: &str) -> Result<String, String> {
    match kind {
        Kind::Column(column) => of_column(column, text),
        Kind::Text => self::text(text),
        Kind::Json => json(text),
    }
}

fn of_column(column: &ColumnModel, text: &str) -> Result<String, String> {
    let kept =
        |wanted: bool, message: &str| if wanted { Ok(text.to_owned()) } else { Err(message.to_owned()) };
    if let Some(FieldKind::Enum { values }) = column.field().map(|field| &field.kind) {
        return kept(values.iter().any(|v| v == text), &format!("use one of {}", values.join(", ")));
    }
    match column.sql_type {
        SqlType::Text => self::text(&column.formed(text)),
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
        SqlType::Jsonb => json(text),
    }
}

fn text(text: &str) -> Result<String, String> {
    if text.len() <= MAX_TEXT && !text.contains('\0') {
        Ok(text.to_owned())
    } else {
        Err(format!("use a text of at most {MAX_TEXT} bytes without the character NUL"))
    }
}

fn json(text: &str) -> Result<String, String> {
    let fits = text.len() <= MAX_JSON && !text.contains("\\u0000");
    match serde_json::from_str::<Value>(text) {
        Ok(_) if fits => Ok(text.to_owned()),
        _ => Err(format!(
            "use JSON of at most {MAX_JSON} bytes without the character NUL; a text stands in quotes"
        )),
    }
}

/// JSON, or the array `{a,b}` of Postgres as an array of texts: clients write arrays so, whatever the column is.
pub(super) fn contained(text: &str) -> Result<String, String> {
    json(text).or_else(|problem| {
        let items = array(text).map_err(|_| problem)?;
        Ok(Value::from(items).to_string())
    })
}

/// The items of `{a,b}`, or of a JSON array of texts.
pub(super) fn array(text: &str) -> Result<Vec<String>, String> {
    let items = match serde_json::from_str::<Vec<String>>(text) {
        Ok(items) => items,
        Err(_) if text == "{}" => Vec::new(),
        Err(_) => text::values(text, '{', '}')?,
    };
    items.iter().try_for_each(|item| self::text(item).map(drop))?;
    Ok(items)
}
