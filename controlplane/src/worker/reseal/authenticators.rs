//! Sealed secrets of authenticators, of all tenants at once.

use std::{sync::Arc, time::Instant};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{ByKey, Lost, REST, Resealer, TICK, within};
use crate::{duty::Lease, vault::Place};

const AT_ONCE: i64 = 500;

/// What is known of the authenticators.
#[derive(Debug, Default)]
pub(super) struct Found {
    due: Option<Instant>,
    after: Option<(String, Uuid)>,
    pub by_key: ByKey,
    pub unreadable: u64,
}

impl Resealer {
    /// Looks at some of them when it is time; whether it was.
    pub(super) async fn authenticators(
        &self,
        connection: &mut PgConnection,
        found: &mut Found,
        lease: &Lease,
    ) -> Result<bool, Lost> {
        if found.due.is_some_and(|due| due > Instant::now()) {
            return Ok(false);
        }
        let (role, id) = found.after.clone().unwrap_or_else(|| (String::new(), Uuid::nil()));
        let rows: Vec<(String, Uuid, String)> = within(
            sqlx::query_as(
                "SELECT role::text, id, sealed FROM tenantry.auth_factor \
                 WHERE NOT starts_with(sealed, $1) AND (role, id) > ($2::name, $3) ORDER BY role, id LIMIT $4",
            )
            .bind(self.prefix())
            .bind(role)
            .bind(id)
            .bind(AT_ONCE)
            .fetch_all(&mut *connection),
        )
        .await?;
        if found.after.is_none() {
            found.unreadable = 0;
        }
        let snapshot = Arc::clone(&self.registry.snapshot());
        let (mut roles, mut ids, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (role, id, stored) in &rows {
            // Of a tenant that is gone, or not served here, nothing is known.
            let Some(tenant) = snapshot.by_role(role).filter(|tenant| tenant.home.cell == self.cell) else {
                continue;
            };
            match self.vault.of(tenant.origin).renew(&Place::Authenticator(*id), stored) {
                Ok(Some(renewed)) => {
                    roles.push(role.as_str());
                    ids.push(*id);
                    old.push(stored.as_str());
                    new.push(renewed);
                }
                Ok(None) => {}
                Err(error) => {
                    found.unreadable += 1;
                    tracing::warn!(tenant = %tenant.name, user = %id, cause = %error, "an authenticator stays as it is");
                }
            }
        }
        if !ids.is_empty() {
            lease.check()?;
            let moved = within(
                sqlx::query(
                    "UPDATE tenantry.auth_factor f SET sealed = n.new FROM \
                        unnest($1::text[], $2::uuid[], $3::text[], $4::text[]) AS n (role, id, old, new) \
                     WHERE f.role = n.role::name AND f.id = n.id AND f.sealed = n.old",
                )
                .bind(&roles)
                .bind(&ids)
                .bind(&old)
                .bind(&new)
                .execute(&mut *connection),
            )
            .await?;
            tracing::info!(authenticators = moved.rows_affected(), "moved to the primary key");
        }
        let is_last = rows.len() < AT_ONCE.unsigned_abs() as usize;
        found.after = rows.into_iter().next_back().map(|(role, id, _)| (role, id)).filter(|_| !is_last);
        if is_last {
            let keys: Vec<&str> = self.vault.names().collect();
            found.by_key = counts(connection, &keys).await?;
        }
        found.due = Some(Instant::now() + if is_last { REST } else { TICK });
        Ok(true)
    }
}

async fn counts(connection: &mut PgConnection, keys: &[&str]) -> Result<ByKey, Lost> {
    let counts: Vec<(Option<String>, i64)> = within(
        sqlx::query_as(
            "SELECT CASE WHEN split_part(sealed, ':', 2) = ANY ($1) THEN split_part(sealed, ':', 2) ELSE '' END, count(*) \
             FROM tenantry.auth_factor WHERE sealed IS NOT NULL GROUP BY 1",
        )
        .bind(keys)
        .fetch_all(connection),
    )
    .await?;
    Ok(counts.into_iter().map(|(key, count)| (key, count.unsigned_abs())).collect())
}
