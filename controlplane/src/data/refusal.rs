//! What the database refuses, as an answer. No text of the server is in it: that may name schemas and values.

use super::{
    idempotency,
    model::{DocModel, Relation},
};
use crate::{
    error::{ApiError, Code, FieldError},
    load,
    postgres::{DatabaseError, ServerError, SqlState},
};

/// What was asked of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// To read.
    Read,
    /// To store or change documents.
    Store,
    /// To delete a document.
    Delete,
}

/// The answer to a request on documents of type `doc` that did not come to its end.
pub fn answer(doc: &DocModel, request: Request, error: DatabaseError) -> ApiError {
    match error {
        DatabaseError::Refused(error) => refused(doc, request, *error),
        DatabaseError::Busy => {
            ApiError::new(Code::Unavailable, "too many requests wait for the database; try again")
                .retry_after(1)
        }
        DatabaseError::Unavailable | DatabaseError::Expired => {
            ApiError::unavailable("the database").caused_by(error)
        }
        DatabaseError::OutcomeUnknown => ApiError::new(
            Code::OutcomeUnknown,
            "the connection to the database broke while the write was being committed; it may or may not have happened",
        )
        .hint("read the document before you send the write again")
        .caused_by(error),
        DatabaseError::NoRole(_) => ApiError::unavailable("the tenant's database").caused_by(error),
        DatabaseError::NoMemory(full) => load::refused(full),
        DatabaseError::Untold => load::untold(),
        DatabaseError::ReplyTooLarge { .. } => {
            ApiError::bad_request("the answer would be too large").hint("ask for fewer items with limit, or fewer fields with select")
        }
    }
}

fn refused(doc: &DocModel, request: Request, error: ServerError) -> ApiError {
    let relation = error.constraint.as_deref().and_then(|name| doc.relation(name));
    let field = relation.map(|(_, column)| column.name.as_str());
    match (error.state, error.state.class()) {
        (SqlState::UNIQUE_VIOLATION, _) => {
            // The primary key has no column of its own among the relations.
            let field = field.unwrap_or("id");
            let errors = vec![at(field, "another document has this value already")];
            ApiError::new(Code::Duplicate, format!("another document has this {field} already"))
                .with_errors(errors)
        }
        (SqlState::FOREIGN_KEY_VIOLATION, _) if request == Request::Delete => {
            let (types, field) = referring(&error);
            ApiError::new(Code::ReferenceConflict, format!("documents of {types} refer to this one{field}"))
                .hint("delete or change them first")
        }
        (SqlState::FOREIGN_KEY_VIOLATION, _) => {
            invalid(field.or(error.column.as_deref()), "refers to a document that does not exist")
        }
        (SqlState::CHECK_VIOLATION, _) => {
            let message = match relation {
                Some((Relation::OneOf, _)) => "is not one of the values that the field can have",
                _ => "is not a value that the field can have",
            };
            invalid(field.or(error.column.as_deref()), message)
        }
        (SqlState::NOT_NULL_VIOLATION, _) => invalid(error.column.as_deref(), "is required"),
        (SqlState::KEY_RUNNING, _) => idempotency::running(),
        (SqlState::QUERY_CANCELED, _) => {
            ApiError::new(Code::Timeout, "the database took too long").caused_by(error)
        }
        // Tables of a tenant that is being changed or deleted at this moment.
        (
            SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_SCHEMA
            | SqlState::UNDEFINED_COLUMN
            | SqlState::INSUFFICIENT_PRIVILEGE
            | SqlState::LOCK_NOT_AVAILABLE,
            _,
        ) => ApiError::unavailable("the tenant's database").caused_by(error),
        // Deadlocks, and servers that are starting, stopping or out of room.
        (_, "40" | "53" | "57" | "58") => ApiError::unavailable("the database").caused_by(error),
        (SqlState::SYNTAX_ERROR, _) => {
            ApiError::bad_request("a search for words cannot be read; wfts takes any text").caused_by(error)
        }
        // Values that passed our checks and that Postgres cannot hold all the same.
        (_, "22" | "54") if request == Request::Read => {
            ApiError::bad_request("a value in the query is not one that its field can have").caused_by(error)
        }
        (_, "22" | "54") => {
            let column = error.column.clone();
            invalid(column.as_deref(), "is not a value that the field can have").caused_by(error)
        }
        _ => ApiError::internal(error),
    }
}

/// The type whose documents are in the way, and the field by which they are. The table splits at the first `_`, the constraint is
/// called after both unless that is too long.
fn referring(error: &ServerError) -> (String, String) {
    let table = error.table.as_deref().unwrap_or_default();
    let types = table.split_once('_').map(|(app, doc_type)| format!("{app}.{doc_type}"));
    let field = error
        .constraint
        .as_deref()
        .and_then(|name| name.strip_prefix(table)?.strip_prefix('-')?.strip_suffix("-fk"))
        .map(|field| format!(" by {field}"));
    (types.unwrap_or_else(|| "another type".to_owned()), field.unwrap_or_default())
}

fn invalid(field: Option<&str>, message: &str) -> ApiError {
    ApiError::invalid(vec![match field {
        Some(field) => at(field, message),
        None => FieldError { pointer: String::new(), message: format!("a field {message}") },
    }])
}

fn at(field: &str, message: &str) -> FieldError {
    FieldError { pointer: format!("/{field}"), message: message.to_owned() }
}
