//! Why a group did not come to its end.

use std::{fmt, str};

use bytes::Bytes;

use crate::load::Full;

/// Why a group did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The tenant has as many requests waiting as it may have, or its request needs a connection for slow statements or of the
    /// tenant's own, and all are in use. Nothing ran.
    #[error("too many requests wait for the database")]
    Busy,
    /// No connection could be had, or the one there was broke before anything lasting happened.
    #[error("the database cannot be reached")]
    Unavailable,
    /// The group waited too long to be sent. Nothing ran.
    #[error("the database did not get to the request in time")]
    Expired,
    /// The connection broke, or no answer came, after the end of a transaction was sent: the write may or may not be there.
    #[error("the answer to a commit was lost")]
    OutcomeUnknown,
    /// The answer is larger than a request may hold in memory.
    #[error("the answer is larger than {limit} bytes")]
    ReplyTooLarge {
        /// Bytes that an answer may have.
        limit: usize,
    },
    /// There is no memory for what the group reads.
    #[error("there is no memory for the rows")]
    NoMemory(Full),
    /// The write has happened, and there is no memory for the rows that it yields.
    #[error("there is no memory for the rows of a write that has happened")]
    Untold,
    /// The tenant's role is not there: the tenant was deleted a moment ago. Nothing ran.
    #[error("the tenant's role is not there")]
    NoRole(#[source] Box<ServerError>),
    /// The server refused a statement; the transaction was rolled back.
    #[error(transparent)]
    Refused(Box<ServerError>),
}

/// Bytes of a text that are kept. A tenant's code can raise errors of any length.
const MAX_TEXT: usize = 1024;

/// A SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// `feature_not_supported`, which a cached plan whose result type changed reports.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// `invalid_sql_statement_name`
    pub const UNKNOWN_STATEMENT: Self = Self(*b"26000");
    /// `unique_violation`
    pub const UNIQUE_VIOLATION: Self = Self(*b"23505");
    /// `foreign_key_violation`
    pub const FOREIGN_KEY_VIOLATION: Self = Self(*b"23503");
    /// `check_violation`
    pub const CHECK_VIOLATION: Self = Self(*b"23514");
    /// `not_null_violation`
    pub const NOT_NULL_VIOLATION: Self = Self(*b"23502");
    /// `division_by_zero`, which bounded writes use to refuse themselves.
    pub const DIVISION_BY_ZERO: Self = Self(*b"22012");
    /// `syntax_error`, which the text of a search for words can have.
    pub const SYNTAX_ERROR: Self = Self(*b"42601");
    /// `query_canceled`, which `statement_timeout` reports.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// `lock_not_available`
    pub const LOCK_NOT_AVAILABLE: Self = Self(*b"55P03");
    /// `insufficient_privilege`
    pub const INSUFFICIENT_PRIVILEGE: Self = Self(*b"42501");
    /// `invalid_catalog_name`, a database that is not there.
    pub const UNDEFINED_DATABASE: Self = Self(*b"3D000");
    /// `undefined_table`
    pub const UNDEFINED_TABLE: Self = Self(*b"42P01");
    /// `invalid_schema_name`
    pub const UNDEFINED_SCHEMA: Self = Self(*b"3F000");
    /// `undefined_column`
    pub const UNDEFINED_COLUMN: Self = Self(*b"42703");

    /// Of ours: one of several writes met no document (`tenantry.required`).
    pub const MET_NOTHING: Self = Self(*b"TN002");
    /// Of ours: a request with the same key is on its way (`tenantry.claim_key`).
    pub const KEY_RUNNING: Self = Self(*b"TN003");
    /// Of ours: a request with the same key has its answer (`tenantry.claim_key`).
    pub const KEY_ANSWERED: Self = Self(*b"TN004");

    /// The code as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or("?????")
    }

    /// The first two characters, which name the class of the error.
    pub fn class(&self) -> &str {
        self.as_str().get(..2).unwrap_or("??")
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the server said. For the log: its text may name schemas and values, so no answer repeats it.
#[derive(Clone)]
pub struct ServerError {
    /// The code.
    pub state: SqlState,
    /// Whether the server closes the connection after it.
    pub fatal: bool,
    /// The text.
    pub message: String,
    /// The table, without its schema.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// The constraint.
    pub constraint: Option<String>,
    /// Which statement of its group, counted from 0; nothing for what belongs to none.
    pub statement: Option<usize>,
}

impl ServerError {
    /// Whether the statement ran, or waited for a lock, for longer than it might.
    pub(super) fn is_out_of_time(&self) -> bool {
        matches!(self.state, SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Reads the body of an ErrorResponse: fields of a type byte and a text, each ended by a zero. The detail is left out,
    /// because it holds values of the row.
    pub(super) fn parse(body: &Bytes) -> Self {
        let mut error = Self {
            state: SqlState(*b"XX000"),
            fatal: false,
            message: String::new(),
            table: None,
            column: None,
            constraint: None,
            statement: None,
        };
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..MAX_TEXT).unwrap_or(bytes)).into_owned();
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, value)) = field.split_first() else { continue };
            match kind {
                b'C' => error.state = value.try_into().map_or(error.state, SqlState),
                b'V' => error.fatal = matches!(value, b"FATAL" | b"PANIC"),
                b'M' => error.message = text(value),
                b't' => error.table = Some(text(value)),
                b'c' => error.column = Some(text(value)),
                b'n' => error.constraint = Some(text(value)),
                _ => {}
            }
        }
        error
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.state.as_str(), self.message)
    }
}

impl std::error::Error for ServerError {}
