//! Second factors of users. They are rows of a journal that all tenants share, so the tables of a snapshot do not have them; without them
//! an account that had one would be open to whoever knows its password.

use bytes::{Bytes, BytesMut};
use futures::{TryStreamExt as _, stream::BoxStream};
use tenantry_crds::reason::Reason;
use tenantry_migrations::logins::LoginShard;
use uuid::Uuid;

use super::{
    format::{FACTORS, Factor, Factors, Reference},
    store::Store,
};
use crate::{
    backend::postgres::{
        Cell,
        change::{Changes, Identity, RowChange},
    },
    context::Context,
    error::Error,
};

/// Rows that are read, or stored in one transaction, at once.
const AT_ONCE: i64 = 500;
/// A longer line is none that Tenantry writes.
const LINE_MAX_BYTES: usize = 64 * 1024;

/// Writes the factors of a tenant into a snapshot.
///
/// # Errors
/// When Postgres or the store fails.
pub async fn export(
    ctx: &Context,
    store: &Store,
    cell: &Cell,
    reference: &Reference,
    tenant: &Identity,
) -> Result<Factors, Error> {
    let mut writing = store.create(reference, FACTORS);
    let (mut rows, mut after) = (0, Uuid::nil());
    loop {
        ctx.leadership.check()?;
        let some: Vec<Factor> = sqlx::query_as(
            "SELECT id, nonce, sealed, to_jsonb(confirmed_at) #>> '{}' AS confirmed_at, last_step, recovery, \
                    to_jsonb(created_at) #>> '{}' AS created_at \
             FROM tenantry.auth_factor \
             WHERE role = $1::name AND confirmed_at IS NOT NULL AND removed_at IS NULL AND id > $2 ORDER BY id LIMIT $3",
        )
        .bind(tenant.role.as_str())
        .bind(after)
        .bind(AT_ONCE)
        .fetch_all(cell.database())
        .await
        .map_err(Error::database("reading second factors"))?;
        let Some(last) = some.last() else { break };
        after = last.id;
        rows += some.len() as u64;
        let mut piece = BytesMut::new();
        for factor in &some {
            let line = serde_json::to_vec(factor).map_err(Error::data("writing second factors"))?;
            piece.extend_from_slice(&line);
            piece.extend_from_slice(b"\n");
        }
        writing.write(piece.freeze()).await?;
    }
    Ok(Factors { rows, file: writing.finish().await? })
}

/// Gives a tenant the factors of a snapshot. Those that are there already stay, so it may be repeated.
///
/// # Errors
/// When Postgres or the store fails, or the file is not what the manifest says.
pub async fn restore(
    ctx: &Context,
    store: &Store,
    (cell, shard): (&Cell, LoginShard),
    (from, factors): (&Reference, &Factors),
    tenant: &Identity,
) -> Result<(), Error> {
    // Nothing of a file that was changed is stored.
    store.verify(from, &factors.file).await?;
    let mut lines = Lines::new(store.read(from, &factors.file).await?);
    let mut stored = 0;
    loop {
        let mut some = Vec::new();
        while some.len() < AT_ONCE.unsigned_abs() as usize
            && let Some(line) = lines.next(from).await?
        {
            let factor: Factor =
                serde_json::from_slice(&line).map_err(Error::data("reading second factors of a snapshot"))?;
            some.push(factor);
        }
        if some.is_empty() {
            break;
        }
        ctx.leadership.check()?;
        stored += some.len() as u64;
        let rows = vec![RowChange::PutFactors(some)];
        cell.apply(shard, tenant, &Changes { rows, ..Changes::default() }).await?;
    }
    if stored == factors.rows {
        return Ok(());
    }
    Err(Error::blocked(
        Reason::SnapshotFailed,
        format!("{FACTORS} of snapshot {from} has {stored} lines, and its manifest says {}", factors.rows),
    ))
}

/// The lines of a file.
struct Lines {
    parts: BoxStream<'static, Result<Bytes, Error>>,
    rest: BytesMut,
    ended: bool,
}

impl Lines {
    fn new(parts: BoxStream<'static, Result<Bytes, Error>>) -> Self {
        Self { parts, rest: BytesMut::new(), ended: false }
    }

    async fn next(&mut self, from: &Reference) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line = self.rest.split_to(end + 1);
                return Ok(Some(line.freeze().slice(..end)));
            }
            if self.ended || self.rest.len() > LINE_MAX_BYTES {
                return if self.rest.is_empty() {
                    Ok(None)
                } else {
                    Err(Error::blocked(
                        Reason::SnapshotFailed,
                        format!("{FACTORS} of snapshot {from} has a line without an end"),
                    ))
                };
            }
            match self.parts.try_next().await? {
                Some(part) => self.rest.extend_from_slice(&part),
                None => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(parts: &[&str]) -> Result<Vec<String>, Error> {
        let from = Reference::parse("acme/00000000-0000-0000-0000-000000000007").unwrap();
        let parts: Vec<_> = parts.iter().map(|part| Ok(Bytes::copy_from_slice(part.as_bytes()))).collect();
        let mut lines = Lines::new(Box::pin(futures::stream::iter(parts)));
        let mut all = Vec::new();
        while let Some(line) = lines.next(&from).await? {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        Ok(all)
    }

    #[tokio::test]
    async fn lines_are_found_wherever_a_file_is_cut_into_parts() {
        assert_eq!(lines(&["{\"a\"", ":1}\n{\"b\":2}", "\n", ""]).await.unwrap(), ["{\"a\":1}", "{\"b\":2}"]);
        assert!(lines(&[]).await.unwrap().is_empty());
        assert!(lines(&["{\"a\":1}"]).await.is_err(), "a line that was cut");
        let endless = "x".repeat(LINE_MAX_BYTES + 1);
        assert!(lines(&[&endless, &endless, "\n"]).await.is_err(), "held in memory without a bound");
    }
}
