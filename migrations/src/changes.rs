//! What changed since a look, asked of the database.
//!
//! A row that changed holds its transaction. What is new since a look are the rows of transactions that the look's snapshot did not
//! show: each exactly once, whatever the order in which transactions end.

use sqlx::PgConnection;

/// A snapshot of the database, as its text: which transactions had ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(pub String);

/// The condition on the column of a row's transaction: it is not in the snapshot `$1`. The first half is for the index.
#[macro_export]
macro_rules! is_new {
    ($column:literal) => {
        concat!(
            $column,
            " >= pg_catalog.pg_snapshot_xmin($1::pg_catalog.pg_snapshot) \
             AND NOT pg_catalog.pg_visible_in_snapshot(",
            $column,
            ", $1::pg_catalog.pg_snapshot)"
        )
    };
}

/// The snapshot at this moment.
///
/// # Errors
/// When the database does not answer.
pub async fn now(connection: &mut PgConnection) -> sqlx::Result<Snapshot> {
    sqlx::query_scalar("SELECT pg_catalog.pg_current_snapshot()::text")
        .fetch_one(connection)
        .await
        .map(Snapshot)
}

/// What of the registry changed since `seen`, as `tenant NAME` or `app NAME`, and the snapshot for the next look.
///
/// # Errors
/// When the database does not answer.
pub async fn of_registry(
    connection: &mut PgConnection,
    seen: &Snapshot,
) -> sqlx::Result<(Snapshot, Vec<String>)> {
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(concat!(
        "SELECT n.seen, c.what FROM (SELECT pg_catalog.pg_current_snapshot()::text AS seen) n \
         LEFT JOIN tenantry.registry_change c ON ",
        is_new!("c.changed_in")
    ))
    .bind(&seen.0)
    .fetch_all(connection)
    .await?;
    let next = rows.first().map_or_else(|| seen.clone(), |(seen, _)| Snapshot(seen.clone()));
    Ok((next, rows.into_iter().filter_map(|(_, what)| what).collect()))
}
