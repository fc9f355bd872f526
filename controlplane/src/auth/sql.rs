//! Statements on a tenant's users and on the journals of sessions, and how one is run.
//!
//! The texts are fixed; `{schema}` stands for the tenant's schema, every value of a request is a parameter.

use crate::{
    error::{ApiError, Code},
    load,
    postgres::{Bound, DatabaseError, Group, Params, Reply, Row, SqlState, Template, TemplateBuilder},
    registry::TenantEntry,
};

/// A statement that is made once: `statement!(NAME, "SELECT ...")`.
macro_rules! statement {
    ($name:ident, $($text:expr),+ $(,)?) => {
        static $name: std::sync::LazyLock<$crate::postgres::Template> =
            std::sync::LazyLock::new(|| $crate::auth::sql::template(&[$($text),+].concat()));
    };
}
pub(super) use statement;

/// The template of `text`, with a hole for each `{schema}`.
pub(super) fn template(text: &str) -> Template {
    let mut parts = text.split("{schema}");
    let mut template = TemplateBuilder::new(parts.next().unwrap_or_default());
    for part in parts {
        template.schema().push(part);
    }
    template.build()
}

/// `template` with its parameters.
pub(super) fn bound(template: &Template, values: &[Option<&str>]) -> Bound {
    let mut params = Params::default();
    for value in values {
        params.push(*value);
    }
    Bound { template: template.clone(), params, by_value: false }
}

/// Runs `group` as the tenant.
///
/// # Errors
/// As an answer, when the group does not come to its end.
pub(super) async fn run(tenant: &TenantEntry, group: Group) -> Result<Reply, ApiError> {
    Ok(run_or_refused(tenant, group).await?)
}

/// What a group came to that did not come to its end.
#[derive(Debug)]
pub(super) enum Failed {
    /// Another row has the value already.
    Duplicate,
    Other(ApiError),
}

impl From<Failed> for ApiError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Duplicate => Self::new(Code::Duplicate, "another document has this value already"),
            Failed::Other(error) => error,
        }
    }
}

/// The same for a group that may meet a value that is taken.
///
/// # Errors
/// When the group does not come to its end.
pub(super) async fn run_or_refused(tenant: &TenantEntry, group: Group) -> Result<Reply, Failed> {
    let database = tenant.home.database().map_err(Failed::Other)?;
    database.run(tenant, group).await.map_err(refused)
}

fn refused(error: DatabaseError) -> Failed {
    let state = match &error {
        DatabaseError::Refused(error) => Some(error.state),
        _ => None,
    };
    Failed::Other(match state {
        Some(SqlState::UNIQUE_VIOLATION) => return Failed::Duplicate,
        // The tenant's `core` is of an older version still, or the tenant is being changed or deleted.
        Some(
            SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_SCHEMA
            | SqlState::UNDEFINED_COLUMN
            | SqlState::INSUFFICIENT_PRIVILEGE,
        ) => ApiError::new(Code::TenantNotReady, "this tenant is being brought up to date; try again")
            .retry_after(2)
            .caused_by(error),
        // What the routes let through all the same: a text, number or time that the column cannot hold.
        Some(state) if state.class() == "22" => {
            ApiError::bad_request("a value of the request cannot be stored").caused_by(error)
        }
        Some(state) if matches!(state.class(), "40" | "53" | "55" | "57" | "58") => {
            ApiError::unavailable("the database").caused_by(error)
        }
        Some(_) => ApiError::internal(error),
        None => match error {
            DatabaseError::OutcomeUnknown => ApiError::new(
                Code::OutcomeUnknown,
                "the connection to the database broke while this was being committed; it may or may not have happened",
            )
            .caused_by(error),
            DatabaseError::NoMemory(full) => load::refused(full),
            DatabaseError::Untold => load::untold(),
            _ => ApiError::unavailable("the database").caused_by(error),
        },
    })
}

/// Whether a column holds true.
pub(super) fn is_true(row: &Row, column: usize) -> bool {
    row.text(column) == Some("t")
}

/// A time as RFC 3339, from the server's text form.
pub(super) fn rfc3339(text: &str) -> String {
    text.replacen(' ', "T", 1).replace("+00", "Z")
}

/// The literal of a text array.
pub(super) fn array<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = values
        .into_iter()
        .map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{{{}}}", quoted.join(","))
}
