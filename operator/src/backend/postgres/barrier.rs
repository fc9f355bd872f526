//! What has to have ended before a tenant may hold code, and before it shares connections again.
//!
//! Every transaction holds a lock on its own number (`virtualxid` of `pg_locks`), taken before it takes in what others committed. So a
//! session that knew nothing yet of a commit is seen with its lock by whoever looks after that commit; and the locks say nothing of what
//! the session does, so everybody may see them.

use std::time::{Duration, Instant};

use sqlx::PgPool;

use crate::error::Error;

/// Between two looks: first, and at most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));
/// How long a session that is being ended is waited for.
const END: Duration = Duration::from_secs(5);
const DOING: &str = "waiting for older transactions";

const OPEN: &str = "
SELECT DISTINCT l.pid, l.virtualtransaction
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
  AND a.usename = ANY ($1::text[]) AND a.datname = pg_catalog.current_database()";

const STILL_OPEN: &str = "
SELECT DISTINCT l.pid, l.virtualtransaction
FROM pg_catalog.pg_locks l
JOIN unnest($1::int[], $2::text[]) AS was (pid, transaction) ON was.pid = l.pid AND was.transaction = l.virtualtransaction
WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted";

/// Transactions of some logins that were open at one moment.
#[derive(Debug)]
pub(super) struct Older {
    /// Process and number of each.
    open: Vec<(i32, String)>,
}

impl Older {
    /// Those that are open now. Whoever calls this after a commit gets all that can have begun without knowing of it.
    pub(super) async fn now(database: &PgPool, logins: &[&str]) -> Result<Self, Error> {
        let open =
            sqlx::query_as(OPEN).bind(logins).fetch_all(database).await.map_err(Error::database(DOING))?;
        Ok(Self { open })
    }

    /// Waits for their end, but no longer than `limit`; whether they have ended.
    pub(super) async fn end(&mut self, database: &PgPool, limit: Duration) -> Result<bool, Error> {
        let until = Instant::now() + limit;
        let (mut pause, longest) = LOOKS;
        while !self.open.is_empty() {
            let (pids, transactions): (Vec<i32>, Vec<&str>) =
                self.open.iter().map(|(pid, transaction)| (*pid, transaction.as_str())).unzip();
            let query = sqlx::query_as(STILL_OPEN).bind(pids).bind(transactions);
            self.open = query.fetch_all(database).await.map_err(Error::database(DOING))?;
            if self.open.is_empty() || Instant::now() >= until {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        Ok(self.open.is_empty())
    }

    /// Ends the sessions whose transactions are still open, and waits for that.
    pub(super) async fn terminate(&mut self, database: &PgPool) -> Result<(), Error> {
        let pids: Vec<i32> = self.open.iter().map(|(pid, _)| *pid).collect();
        tracing::warn!(sessions = pids.len(), "ending sessions whose transactions take too long");
        sqlx::query("SELECT pg_catalog.pg_terminate_backend(pid) FROM unnest($1::int[]) AS old (pid)")
            .bind(pids)
            .execute(database)
            .await
            .map_err(Error::database("ending sessions whose transactions take too long"))?;
        if self.end(database, END).await? { Ok(()) } else { Err(Error::Timeout { doing: DOING, limit: END }) }
    }
}
