//! The events in Postgres, read and removed by the process that has the duty.

use std::time::Duration;

use futures::TryStreamExt;
use sqlx::{FromRow, PgConnection};

use crate::{
    database::Login,
    duty::{self, Lease, Name},
};

/// Bodies of one batch, in bytes: what one request to the engine should not be much above.
pub(super) const BATCH_BYTES: usize = 8 * 1024 * 1024;
const LIMIT: Duration = Duration::from_secs(20);

/// The order is that of the primary key. Without the table's name `role` would be the text that is read, which no index has in
/// order: all of the outbox would be read and sorted for each batch, with all that was removed and is not vacuumed yet.
pub(super) const BATCH: &str = "SELECT o.role::text AS role, o.id, o.app, o.doc_type, o.doc_id, o.operation, o.body::text AS body, \
            extract(epoch FROM now() - o.occurred_at)::float8 AS age \
     FROM tenantry.outbox AS o \
     WHERE (o.role, o.id) > ($1::text::name, $2) AND NOT (o.role || ' ' || o.app || ' ' || o.doc_type) = ANY ($3) \
     ORDER BY o.role, o.id LIMIT $4";

/// An event of the outbox.
#[derive(Debug, Clone, FromRow)]
pub(super) struct EventRow {
    /// The role of the tenant.
    pub role: String,
    pub id: i64,
    pub app: String,
    pub doc_type: String,
    pub doc_id: String,
    /// `Put` or `Delete`.
    pub operation: String,
    pub body: Option<String>,
    /// Seconds since it happened.
    pub age: f64,
}

/// An index of the registry, by what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, FromRow)]
pub(super) struct Target {
    pub tenant: String,
    pub app: String,
    pub doc_type: String,
    pub index_uid: String,
}

/// Where the next batch begins: events are read tenant by tenant, so that a busy one comes around as often as the others.
#[derive(Debug, Clone, Default)]
pub(super) struct Cursor {
    role: String,
    id: i64,
}

impl Cursor {
    /// The batch before was the last one, for now.
    pub(super) fn is_at_the_start(&self) -> bool {
        self.role.is_empty()
    }
}

/// The connection is gone, or Postgres took too long.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("the outbox")]
    Database(#[from] sqlx::Error),
    #[error("the outbox did not answer within {LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
    #[error("the right to work")]
    Duty(#[from] duty::Lost),
}

/// The outbox, for as long as the lease lasts.
#[derive(Debug)]
pub(super) struct Outbox {
    connection: PgConnection,
    lease: Lease,
}

impl Outbox {
    /// Opens it for the holder of the duty.
    pub(super) async fn open(login: &Login, lease: Lease) -> Result<Self, Lost> {
        Ok(Self { connection: within(login.connect()).await?, lease })
    }

    /// # Errors
    /// When another process may have the duty by now: its events must not meet older ones of ours in an index.
    pub(super) fn is_ours(&self) -> Result<(), Lost> {
        Ok(self.lease.check()?)
    }

    /// Up to `limit` events from `cursor` on, but for those of `held`. The order of a document's events is that of their ids.
    pub(super) async fn batch(
        &mut self,
        cursor: &mut Cursor,
        held: &[String],
        limit: i64,
    ) -> Result<Vec<EventRow>, Lost> {
        let mut events = Vec::new();
        let read = async {
            let mut bytes = 0;
            let mut rows = sqlx::query_as::<_, EventRow>(BATCH)
                .bind(&cursor.role)
                .bind(cursor.id)
                .bind(held)
                .bind(limit)
                .fetch(&mut self.connection);
            while let Some(event) = rows.try_next().await? {
                bytes += event.body.as_ref().map_or(0, String::len);
                events.push(event);
                if bytes > BATCH_BYTES {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let complete = within::<_, sqlx::Error>(read).await?;
        *cursor = match events.last() {
            Some(last) if !complete || i64::try_from(events.len()) == Ok(limit) => {
                Cursor { role: last.role.clone(), id: last.id }
            }
            // The end was reached: begin again.
            _ => Cursor::default(),
        };
        Ok(events)
    }

    /// Removes events that are done. After the end of the lease none is removed: whoever has the duty then, does them again.
    pub(super) async fn remove(&mut self, done: &[(String, i64)]) -> Result<(), Lost> {
        if done.is_empty() {
            return Ok(());
        }
        let (roles, ids): (Vec<&str>, Vec<i64>) = done.iter().map(|(role, id)| (role.as_str(), *id)).unzip();
        let query = sqlx::query_scalar(
            "WITH held AS (SELECT FROM tenantry.duty WHERE name = $3 AND epoch = $4), \
             removed AS (DELETE FROM tenantry.outbox WHERE (role, id) IN \
                (SELECT r::name, i FROM unnest($1::text[], $2::bigint[]) AS done (r, i)) AND EXISTS (SELECT FROM held)) \
             SELECT EXISTS (SELECT FROM held)",
        );
        let query = query.bind(roles).bind(ids).bind(Name::Index.as_str()).bind(self.lease.epoch());
        if within::<bool, _>(query.fetch_one(&mut self.connection)).await? {
            Ok(())
        } else {
            Err(duty::Lost::Over.into())
        }
    }

    /// Those of `targets` whose index has the documents that were there before it.
    pub(super) async fn backfilled(&mut self, targets: &[&Target]) -> Result<Vec<Target>, Lost> {
        let column = |of: fn(&Target) -> &str| -> Vec<&str> { targets.iter().map(|t| of(t)).collect() };
        let query = sqlx::query_as(
            "SELECT p.tenant, p.app, p.doc_type, p.index_uid FROM tenantry.search_progress p \
             JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS t (tenant, app, doc_type, index_uid) \
             USING (tenant, app, doc_type, index_uid)",
        );
        let query = query
            .bind(column(|t| &t.tenant))
            .bind(column(|t| &t.app))
            .bind(column(|t| &t.doc_type))
            .bind(column(|t| &t.index_uid));
        within(query.fetch_all(&mut self.connection)).await
    }

    /// Live indexes that lack the documents that were there before them, but for those with an uid of `held`.
    pub(super) async fn wanting(&mut self, held: &[String]) -> Result<Vec<Target>, Lost> {
        let query = sqlx::query_as(
            "SELECT tenant, app, doc_type, index_uid FROM tenantry.search_binding b \
             WHERE live AND index_uid <> ALL ($1) AND NOT EXISTS (SELECT FROM tenantry.search_progress p \
                 WHERE p.tenant = b.tenant AND p.app = b.app AND p.doc_type = b.doc_type AND p.index_uid = b.index_uid) \
             ORDER BY tenant, app, doc_type LIMIT 100",
        );
        within(query.bind(held).fetch_all(&mut self.connection)).await
    }

    /// The index of `target` has all documents that were there before it.
    pub(super) async fn finish(&mut self, target: &Target) -> Result<(), Lost> {
        // Nothing happens when the binding is gone by now, or is another.
        let query = sqlx::query(
            "INSERT INTO tenantry.search_progress (tenant, app, doc_type, index_uid) \
             SELECT tenant, app, doc_type, index_uid FROM tenantry.search_binding \
             WHERE tenant = $1 AND app = $2 AND doc_type = $3 AND index_uid = $4 \
             ON CONFLICT (tenant, app, doc_type) \
             DO UPDATE SET index_uid = EXCLUDED.index_uid, backfilled_at = now()",
        );
        let query =
            query.bind(&target.tenant).bind(&target.app).bind(&target.doc_type).bind(&target.index_uid);
        within(query.execute(&mut self.connection)).await?;
        Ok(())
    }

    /// The index of `target` is gone and will have to be filled again.
    pub(super) async fn forget(&mut self, target: &Target) -> Result<(), Lost> {
        let query = sqlx::query(
            "DELETE FROM tenantry.search_progress WHERE tenant = $1 AND app = $2 AND doc_type = $3",
        );
        let query = query.bind(&target.tenant).bind(&target.app).bind(&target.doc_type);
        within(query.execute(&mut self.connection)).await?;
        Ok(())
    }
}

async fn within<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Lost>
where
    Lost: From<E>,
{
    Ok(tokio::time::timeout(LIMIT, work).await??)
}
