//! One-time tokens on their way to the tenant's webhook, which sends the e-mail.
//!
//! The row of a token is written in the transaction that gives a reason for it, and is due until the webhook has taken it: an
//! outbox of its own. The token is made of the row here, so it is nowhere but in the request.
//!
//! The request is signed: `Authorization: Bearer JWT`, of type `webhook+jwt`, for the audience `webhook:TENANT`, with the digest of
//! the body in `sha256`. The keys are the published ones.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Outbound, SecretKey, Tokens,
    secret::{Named, Purpose},
    token::{self, unix_now},
};
use crate::{
    error::Chain,
    registry::{Availability, Registry},
};

/// Tokens that are handed over at once.
const BATCH: i64 = 32;
const LIMIT: Duration = Duration::from_secs(20);
/// Attempts before a token is given up. The last comes about three hours after the first.
const MAX_ATTEMPTS: i32 = 10;
/// Seconds that a signature is good for.
const SIGNED_SECONDS: u64 = 300;
/// Between two looks for rows that are of no use any more.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
const SWEPT_AT_ONCE: i64 = 5000;

/// Hands the tokens of one Postgres instance over.
#[derive(Debug)]
pub struct Mailer {
    pub pool: PgPool,
    pub registry: Registry,
    pub tokens: Tokens,
    pub secrets: SecretKey,
    pub outbound: Outbound,
    pub poll: Duration,
}

#[derive(Debug, FromRow)]
struct DueRow {
    id: Uuid,
    role: String,
    kind: String,
    user_id: Uuid,
    email: String,
    redirect_to: Option<String>,
    attempts: i32,
    expires_at: String,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("reading one-time tokens")]
    Database(#[from] sqlx::Error),
    #[error("reading one-time tokens took longer than {LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
}

#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error("the tenant has no webhook, or is not served")]
    NoWebhook,
    #[error("signing the request")]
    Signing(#[from] token::KeyError),
    #[error("the webhook")]
    Webhook(#[from] super::OutboundError),
}

impl Mailer {
    /// Hands over what is due, and sweeps what is over, until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut swept = None;
        while !shutdown.is_cancelled() {
            let worked = tokio::select! {
                () = shutdown.cancelled() => return,
                worked = self.turn(&mut swept) => worked,
            };
            let wait = match worked {
                Ok(true) => continue,
                Ok(false) => self.poll,
                Err(error) => {
                    tracing::warn!(cause = %Chain(&error), "one-time tokens wait");
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Whether there may be more at once.
    async fn turn(&self, swept: &mut Option<tokio::time::Instant>) -> Result<bool, Failed> {
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            self.sweep().await?;
            *swept = Some(tokio::time::Instant::now());
        }
        // Locked while they are on their way, so that another worker takes others. A worker that dies leaves them due.
        let mut transaction = tokio::time::timeout(LIMIT, self.pool.begin()).await??;
        let due = sqlx::query_as::<_, DueRow>(
            "SELECT id, role::text, kind, user_id, email, redirect_to, attempts, \
                replace(replace(expires_at::text, ' ', 'T'), '+00', 'Z') AS expires_at \
             FROM tenantry.auth_token WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED",
        );
        let due = tokio::time::timeout(LIMIT, due.bind(BATCH).fetch_all(&mut *transaction)).await??;
        if due.is_empty() {
            return Ok(false);
        }
        let sent = futures::future::join_all(due.iter().map(|row| self.deliver(row))).await;
        for (row, sent) in due.iter().zip(sent) {
            let again = match sent {
                Ok(()) => None,
                Err(error) => {
                    tracing::warn!(role = row.role, kind = row.kind, attempts = row.attempts, cause = %Chain(&error),
                        "a one-time token was not delivered");
                    // 5 s, 10 s, 20 s, ... up to an hour.
                    (row.attempts + 1 < MAX_ATTEMPTS)
                        .then(|| 5.0 * f64::from(2_u32.pow(row.attempts.clamp(0, 10).unsigned_abs())))
                        .map(|seconds| seconds.min(3600.0))
                }
            };
            let done = sqlx::query(
                "UPDATE tenantry.auth_token SET attempts = attempts + 1, \
                    due_at = now() + make_interval(secs => $3) WHERE role = $1::text::name AND id = $2",
            );
            let done = done.bind(&row.role).bind(row.id).bind(again);
            tokio::time::timeout(LIMIT, done.execute(&mut *transaction)).await??;
        }
        tokio::time::timeout(LIMIT, transaction.commit()).await??;
        Ok(i64::try_from(due.len()) == Ok(BATCH))
    }

    async fn deliver(&self, row: &DueRow) -> Result<(), Undelivered> {
        let snapshot = self.registry.snapshot();
        let tenant =
            snapshot.by_role(&row.role).filter(|tenant| tenant.availability == Availability::Serving);
        let tenant = std::sync::Arc::clone(tenant.ok_or(Undelivered::NoWebhook)?);
        drop(snapshot);
        let url = tenant.auth.webhook().ok_or(Undelivered::NoWebhook)?;
        let token = self.secrets.seal(Purpose::OneTime, tenant.uid, Named { id: row.id, number: 0 });
        let body = json!({
            "type": format!("auth.{}", event(&row.kind)), "id": row.id, "tenant": tenant.name.as_str(),
            "user_id": row.user_id, "email": row.email, "token": token, "redirect_to": row.redirect_to,
            "expires_at": row.expires_at,
        })
        .to_string()
        .into_bytes();
        let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        let now = unix_now();
        let claims = json!({
            "iss": self.tokens.issuer(), "aud": format!("webhook:{}", tenant.name), "jti": row.id, "iat": now,
            "exp": now + SIGNED_SECONDS, "sha256": digest,
        });
        let signature = format!("Bearer {}", self.tokens.sign("webhook+jwt", &claims)?);
        let id = row.id.to_string();
        let headers = [("authorization", signature.as_str()), ("webhook-id", id.as_str())];
        Ok(self.outbound.post(url, &headers, body).await?)
    }

    /// Removes rows that are of no use any more.
    async fn sweep(&self) -> Result<(), Failed> {
        for (table, over) in [
            (
                "auth_session",
                "expires_at < now() - interval '1 day' OR revoked_at < now() - interval '2 days'",
            ),
            ("auth_token", "expires_at < now()"),
            ("auth_attempt", "last_at < now() - interval '1 day'"),
            ("auth_factor", "confirmed_at IS NULL AND created_at < now() - interval '1 day'"),
            ("auth_change", "changed_at < now() - interval '26 hours'"),
        ] {
            let sql = format!(
                "DELETE FROM tenantry.{table} WHERE (role, id) IN \
                 (SELECT role, id FROM tenantry.{table} WHERE {over} LIMIT {SWEPT_AT_ONCE})"
            );
            // Texts of this function only.
            let sweep = sqlx::query(sqlx::AssertSqlSafe(sql));
            tokio::time::timeout(LIMIT, sweep.execute(&self.pool)).await??;
        }
        Ok(())
    }
}

fn event(kind: &str) -> &'static str {
    match kind {
        "Recover" => "recover",
        "Invite" => "invite",
        "ChangeEmail" => "change_email",
        _ => "verify",
    }
}
