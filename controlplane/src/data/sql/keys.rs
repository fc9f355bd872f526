//! Answers that are kept under a caller's Idempotency-Key.

use super::statement::Statement;
use crate::{data::idempotency::Key, postgres::Bound};

/// Takes the key for the transaction; an error when it is taken or has its answer. Yields one row.
pub fn claim_key(key: &Key) -> Bound {
    let mut sql = Statement::new("SELECT tenantry.claim_key(");
    sql.bind(Some(key.id()), "text").push(")");
    sql.finish()
}

/// The answers that are kept under the key with this digest: what was asked, and the rows of the answer.
pub fn answers(id: &str) -> Bound {
    let mut sql = Statement::new("SELECT asked, answer FROM tenantry.idempotency ");
    sql.push("WHERE role = current_user AND id = ").bind(Some(id), "text");
    // Part -1 is the claim.
    sql.push(" AND part >= 0 ORDER BY part");
    sql.finish()
}
