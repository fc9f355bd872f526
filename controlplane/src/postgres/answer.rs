//! A group that did not come to its end, as an answer, where no document type says more (see `data::refusal` for those). No
//! text of the server is in it.

use super::error::{DatabaseError, SqlState};
use crate::{
    error::{ApiError, Code},
    load,
};

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        match &error {
            DatabaseError::Busy => {
                Self::new(Code::Unavailable, "too many requests wait for the database; try again")
                    .retry_after(1)
            }
            DatabaseError::Unavailable | DatabaseError::Expired => {
                Self::unavailable("the database").caused_by(error)
            }
            DatabaseError::OutcomeUnknown => Self::new(
                Code::OutcomeUnknown,
                "the answer of the database was lost; the change may or may not have happened",
            )
            .caused_by(error),
            DatabaseError::NoRole(_) => Self::unavailable("the tenant's database").caused_by(error),
            DatabaseError::NoMemory(full) => load::refused(*full),
            DatabaseError::Untold => load::untold(),
            DatabaseError::ReplyTooLarge { .. } => {
                Self::bad_request("the answer would be too large").hint("ask for fewer items with limit")
            }
            DatabaseError::Refused(refused) => match (refused.state, refused.state.class()) {
                (SqlState::QUERY_CANCELED, _) => {
                    Self::new(Code::Timeout, "the database took too long").caused_by(error)
                }
                // A tenant that is being changed or deleted at this moment; deadlocks; servers that start or stop.
                (
                    SqlState::UNDEFINED_TABLE
                    | SqlState::UNDEFINED_SCHEMA
                    | SqlState::INSUFFICIENT_PRIVILEGE
                    | SqlState::LOCK_NOT_AVAILABLE,
                    _,
                )
                | (_, "40" | "53" | "57" | "58") => Self::unavailable("the database").caused_by(error),
                (_, "22") => Self::bad_request("a value cannot be what it is compared with").caused_by(error),
                _ => Self::internal(error),
            },
        }
    }
}
