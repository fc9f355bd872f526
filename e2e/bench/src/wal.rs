//! A write-ahead log as a server has it that has run for a while.

use sqlx::{Connection, PgConnection};

use super::Outcome;

/// Files of 16 MB; all together beneath the stack's `min_wal_size`, so that a checkpoint keeps them for what comes.
const SEGMENTS: usize = 112;

/// What a page says of it.
pub const METHOD: &str = "Postgres has its log's files from before, as a server that has run for a while recycles them: on a new \
                          one each 16 MB of log wait until their file is made and filled, 66 ms when that was measured.";

/// Fills files of the log and lets a checkpoint recycle them.
///
/// # Errors
/// When Postgres refuses.
pub async fn recycled(database_url: &str) -> Outcome<()> {
    let mut connection = PgConnection::connect(database_url).await?;
    for _ in 0..SEGMENTS {
        // A file that nothing is in is not left.
        sqlx::query("SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()")
            .execute(&mut connection)
            .await?;
    }
    sqlx::query("CHECKPOINT").execute(&mut connection).await?;
    Ok(connection.close().await?)
}
