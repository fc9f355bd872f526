//! A body as documents.

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};
use tenantry_migrations::layout::SqlType;

use super::csv::{self, Cell};
use crate::{
    data::model::DocModel,
    error::{ApiError, Code, FieldError},
};

/// The documents of a body.
#[derive(Debug)]
pub struct Documents {
    /// The documents, in order.
    pub items: Vec<Value>,
    /// Whether the body was a single object.
    pub single: bool,
}

/// Reads a body of JSON (an object, or an array of them), CSV or lines of JSON, with at most `most` documents.
///
/// # Errors
/// 415 for another kind, 400 for a body that cannot be read, 422 for too many documents.
pub fn documents(
    doc: &DocModel,
    headers: &HeaderMap,
    body: &[u8],
    most: usize,
) -> Result<Documents, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let documents = match kind.as_str() {
        "application/json" => json(body)?,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => lines(body)?,
        "text/csv" => from_csv(doc, body, most)?,
        kind if kind.starts_with("application/") && kind.ends_with("+json") => json(body)?,
        _ => {
            return Err(ApiError::new(
                Code::UnsupportedMediaType,
                "send the body as application/json, text/csv or application/x-ndjson",
            ));
        }
    };
    if documents.items.is_empty() || documents.items.len() > most {
        return Err(ApiError::invalid(vec![FieldError {
            pointer: String::new(),
            message: format!("must have 1 to {most} documents"),
        }]));
    }
    Ok(documents)
}

fn json(body: &[u8]) -> Result<Documents, ApiError> {
    let value = serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(format!("the body is not JSON: {error}")).known_as("PGRST102")
    })?;
    Ok(match value {
        Value::Array(items) => Documents { items, single: false },
        one => Documents { items: vec![one], single: true },
    })
}

fn lines(body: &[u8]) -> Result<Documents, ApiError> {
    let mut items = Vec::new();
    for (n, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let value = serde_json::from_slice(line)
            .map_err(|error| ApiError::bad_request(format!("line {} is not JSON: {error}", n + 1)))?;
        items.push(value);
    }
    Ok(Documents { items, single: false })
}

fn from_csv(doc: &DocModel, body: &[u8], most: usize) -> Result<Documents, ApiError> {
    let refused = |problem: String| ApiError::bad_request(format!("the body is not CSV: {problem}"));
    let text = std::str::from_utf8(body).map_err(|_| refused("it is not UTF-8".into()))?;
    // One more for the names.
    let mut records = csv::records(text, most + 1).map_err(refused)?.into_iter();
    let names =
        records.next().ok_or_else(|| refused("the first record holds the names of the fields".into()))?;
    let mut items = Vec::new();
    for (n, record) in records.enumerate() {
        if record.len() != names.len() {
            return Err(refused(format!(
                "record {} has {} values, and there are {} names",
                n + 2,
                record.len(),
                names.len()
            )));
        }
        let members = names.iter().zip(record).map(|(name, cell)| {
            let sql_type = doc.column(&name.text).map(|(_, column)| column.sql_type);
            (name.text.clone(), value(sql_type, cell))
        });
        items.push(Value::Object(members.collect::<Map<_, _>>()));
    }
    Ok(Documents { items, single: false })
}

/// A value of CSV as JSON. Nothing, and the word NULL, are null; what the field cannot take stays text and is refused as such.
fn value(sql_type: Option<SqlType>, cell: Cell) -> Value {
    let Cell { text, quoted } = cell;
    if !quoted && (text.is_empty() || text == "NULL") {
        return Value::Null;
    }
    let parsed = match sql_type {
        Some(SqlType::Integer | SqlType::BigInt | SqlType::Double | SqlType::Jsonb) => {
            serde_json::from_str(&text).ok()
        }
        Some(SqlType::Boolean) => match text.as_str() {
            "true" | "t" => Some(Value::Bool(true)),
            "false" | "f" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    };
    parsed.unwrap_or(Value::String(text))
}
