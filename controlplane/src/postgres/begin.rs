//! How a group begins, and what waits for the disk.

use bytes::BytesMut;

use super::{job::Job, statement::Params, wire};

/// Statements that come before a group's own: the one that makes the transaction the tenant's.
pub(super) const STEPS_BEFORE: usize = 1;

const READ: &str = "read";
const READ_TIMED: &str = "read_timed";
const WRITE: &str = "write";
const WRITE_TIMED: &str = "write_timed";
const DEFERRED: &str = "deferred";
const DEFERRED_TIMED: &str = "deferred_timed";
const FLUSH: &str = "flush";

/// A plan for any values, made at the first use, as most writes are planned: their rows are found by a key. The server would plan
/// each of the first five uses anew, and a connection has many tenants of which each writes now and then.
const PLANNED_ONCE: &str = "force_generic_plan";
/// As the server sees fit.
const PLANNED_BY_VALUE: &str = "auto";

/// The statements that every connection prepares before its first group. All but the last begin one: the tenant's role until the
/// transaction ends, and how it runs. The server times each statement anew, so the timeout that is set here holds for those that
/// follow.
pub(super) const PREPARED: [(&str, &str); 7] = [
    (
        READ,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('transaction_read_only', 'on', true)",
    ),
    (
        READ_TIMED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('transaction_read_only', 'on', true), \
         pg_catalog.set_config('statement_timeout', $2, true)",
    ),
    (
        WRITE,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('plan_cache_mode', $2, true)",
    ),
    (
        WRITE_TIMED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('plan_cache_mode', $2, true), \
         pg_catalog.set_config('statement_timeout', $3, true)",
    ),
    (
        DEFERRED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('plan_cache_mode', $2, true), \
         pg_catalog.set_config('synchronous_commit', 'off', true)",
    ),
    (
        DEFERRED_TIMED,
        "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('plan_cache_mode', $2, true), \
         pg_catalog.set_config('synchronous_commit', 'off', true), \
         pg_catalog.set_config('statement_timeout', $3, true)",
    ),
    // A transaction that wrote nothing does not wait for the disk at its end; this makes any transaction one that did.
    (FLUSH, "SELECT pg_catalog.pg_logical_emit_message(true, 'tenantry', '')"),
];

/// When a group may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// At its own end.
    Own,
    /// When the end of a later group has waited for the disk.
    Deferred,
    /// At its own end, together with all that were deferred.
    ForAll,
}

/// Begins `job`. Without `timeout`, in milliseconds, its statements have the session's.
pub(super) fn begin(out: &mut BytesMut, job: &Job, durability: Durability, timeout: Option<u32>) {
    let write = job.is_write();
    let (usual, timed) = match (write, durability) {
        (false, _) => (READ, READ_TIMED),
        (true, Durability::Deferred) => (DEFERRED, DEFERRED_TIMED),
        (true, Durability::Own | Durability::ForAll) => (WRITE, WRITE_TIMED),
    };
    let mut params = Params::default();
    params.push(Some(job.role.as_str()));
    if write {
        let by_value = job.group.statements.iter().any(|bound| bound.by_value);
        params.push(Some(if by_value { PLANNED_BY_VALUE } else { PLANNED_ONCE }));
    }
    if let Some(milliseconds) = timeout {
        params.push(Some(&milliseconds.to_string()));
    }
    wire::bind_and_execute(out, if timeout.is_some() { timed } else { usual }, &params);
}

/// A statement whose end waits for the disk.
pub(super) fn flush(out: &mut BytesMut) {
    wire::bind_and_execute(out, FLUSH, &Params::default());
}
