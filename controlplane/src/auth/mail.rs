//! One-time tokens on their way to the tenant's webhook, which sends the e-mail.
//!
//! The row of a token is written in the transaction that gives a reason for it, and is due until the webhook has taken it: an
//! outbox of its own. The token is made of the row here, so it is nowhere but in the request.
//!
//! The request is signed ([`webhook`]). For one version it also has what it had before: `Authorization: Bearer JWT`, of type
//! `webhook+jwt`, for the audience `webhook:TENANT`, with the digest of the body in `sha256`, signed with the published keys.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::{FromRow, PgPool};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Outbound, SecretKey, Tokens,
    redirect::Redirects,
    secret::{Named, Purpose},
    token::{self, unix_now},
    webhook,
};
use crate::{
    error::Chain,
    registry::{Availability, Registry},
};

/// Tokens that are on their way at once; of one tenant so many, and the next when all of those have arrived. So a webhook that
/// does not answer holds up nobody but its own tenant.
const AT_ONCE: usize = 32;
const AT_ONCE_OF_A_TENANT: i64 = 4;
const LIMIT: Duration = Duration::from_secs(20);
/// Attempts before a token is given up. The last comes about three hours after the first.
const MAX_ATTEMPTS: i32 = 10;
/// Seconds that a signature is good for.
const SIGNED_SECONDS: u64 = 300;
/// Between two looks for rows that are of no use any more.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
const SWEPT_AT_ONCE: i64 = 5000;
/// The kind of a row that tells of something and is no token.
const NOTICE: &str = "Notice";

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
    /// With this one.
    attempts: i32,
    expires_at: String,
    /// Of a notice, what happened.
    events: Option<String>,
}

// Due again after a while: a worker that dies on the way leaves them to another one. No lock is held on the way, because who
// redeems a token would have to wait for it.
const TAKE: &str = "UPDATE tenantry.auth_token t \
    SET attempts = t.attempts + 1, due_at = now() + interval '30 seconds' \
    FROM (SELECT role, id FROM tenantry.auth_token \
        WHERE due_at <= now() AND (role, id) IN ( \
            SELECT role, id FROM (SELECT role, id, due_at, row_number() OVER (PARTITION BY role ORDER BY due_at) AS nth \
                FROM tenantry.auth_token WHERE due_at <= now() AND role <> ALL ($1::text[]::name[])) of_tenant \
            WHERE nth <= $2 ORDER BY due_at LIMIT $3) \
        FOR UPDATE SKIP LOCKED) due \
    WHERE t.role = due.role AND t.id = due.id \
    RETURNING t.id, t.role::text, t.kind, t.user_id, t.email, t.redirect_to, t.attempts, t.events, \
        replace(replace(t.expires_at::text, ' ', 'T'), '+00', 'Z') AS expires_at";

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
        let mailer = Arc::new(self);
        let mut swept = None;
        let mut on_the_way = OnTheWay::default();
        loop {
            let taken = tokio::select! {
                () = shutdown.cancelled() => return,
                taken = mailer.turn(&mut swept, &on_the_way) => taken,
            };
            let wait = match taken {
                Ok(rows) => {
                    for row in rows {
                        on_the_way.begin(&mailer, row);
                    }
                    mailer.poll
                }
                Err(error) => {
                    tracing::warn!(cause = %Chain(&error), "one-time tokens wait");
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = on_the_way.arrived() => {}
            }
        }
    }

    /// Takes what is due of tenants that have nothing on its way.
    async fn turn(
        &self,
        swept: &mut Option<tokio::time::Instant>,
        on_the_way: &OnTheWay,
    ) -> Result<Vec<DueRow>, Failed> {
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY) {
            self.sweep().await?;
            *swept = Some(tokio::time::Instant::now());
        }
        let room = i64::try_from(AT_ONCE.saturating_sub(on_the_way.tenants.len())).unwrap_or_default();
        let busy: Vec<&str> = on_the_way.tenants.values().map(String::as_str).collect();
        let take = sqlx::query_as::<_, DueRow>(TAKE).bind(busy).bind(AT_ONCE_OF_A_TENANT).bind(room);
        Ok(tokio::time::timeout(LIMIT, take.fetch_all(&self.pool)).await??)
    }

    /// Delivers a token and notes what came of it.
    async fn hand_over(&self, row: DueRow) {
        let again = match self.deliver(&row).await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(role = row.role, kind = row.kind, attempts = row.attempts, cause = %Chain(&error),
                    "a one-time token was not delivered");
                // 5 s, 10 s, 20 s, ... up to an hour.
                let doubled =
                    f64::from(2_u32.pow(row.attempts.saturating_sub(1).clamp(0, 10).unsigned_abs()));
                (row.attempts < MAX_ATTEMPTS).then_some((5.0 * doubled).min(3600.0))
            }
        };
        let done = sqlx::query(
            "UPDATE tenantry.auth_token SET due_at = now() + make_interval(secs => $3) \
             WHERE role = $1::text::name AND id = $2 AND expires_at > now()",
        );
        let done = done.bind(&row.role).bind(row.id).bind(again).execute(&self.pool);
        match tokio::time::timeout(LIMIT, done).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(cause = %Chain(&error), "what became of a one-time token cannot be noted");
            }
            Err(_) => tracing::warn!("what became of a one-time token cannot be noted in time"),
        }
    }

    async fn deliver(&self, row: &DueRow) -> Result<(), Undelivered> {
        let snapshot = self.registry.snapshot();
        let tenant =
            snapshot.by_role(&row.role).filter(|tenant| tenant.availability == Availability::Serving);
        let tenant = Arc::clone(tenant.ok_or(Undelivered::NoWebhook)?);
        drop(snapshot);
        let url = tenant.auth.webhook().ok_or(Undelivered::NoWebhook)?;
        // A notice opens nothing.
        let token = (row.kind != NOTICE)
            .then(|| self.secrets.seal(Purpose::OneTime, tenant.uid, Named { id: row.id, number: 0 }));
        let events: Vec<&str> = row.events.iter().flat_map(|events| events.split(' ')).collect();
        // What the tenant lists may have changed since it was asked for.
        let redirects = Redirects::of(&tenant);
        let redirect_to = row.redirect_to.as_deref().and_then(|asked| redirects.admit_or_site(Some(asked)));
        let mut body = json!({
            "type": format!("auth.{}", event(&row.kind)), "id": row.id, "tenant": tenant.name.as_str(),
            "user_id": row.user_id, "email": row.email, "token": token, "redirect_to": redirect_to,
            "expires_at": row.expires_at,
        });
        if token.is_none() {
            body["events"] = json!(events);
        }
        let body = body.to_string().into_bytes();
        let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
        let now = unix_now();
        let claims = json!({
            "iss": self.tokens.issuer(), "aud": format!("webhook:{}", tenant.name), "jti": row.id, "iat": now,
            "exp": now + SIGNED_SECONDS, "sha256": digest,
        });
        let bearer = format!("Bearer {}", self.tokens.sign("webhook+jwt", &claims)?);
        let signed = webhook::Signed::new(&self.secrets, tenant.uid, row.id, now, &body);
        let [id, timestamp, signature] = signed.headers();
        let headers = [("authorization", bearer.as_str()), id, timestamp, signature];
        Ok(self.outbound.post(url, &headers, body).await?)
    }

    /// Removes rows that are of no use any more; those that a tenant's transaction holds, another time.
    async fn sweep(&self) -> Result<(), Failed> {
        for (table, over) in [
            (
                "auth_session",
                "expires_at < now() - interval '1 day' OR revoked_at < now() - interval '2 days'",
            ),
            ("auth_token", "expires_at < now()"),
            ("auth_attempt", "last_at < now() - interval '1 day'"),
            (
                "auth_factor",
                "removed_at IS NOT NULL OR (confirmed_at IS NULL AND created_at < now() - interval '1 day')",
            ),
            ("auth_change", "changed_at < now() - interval '26 hours'"),
        ] {
            let sql = format!(
                "DELETE FROM tenantry.{table} WHERE (role, id) IN \
                 (SELECT role, id FROM tenantry.{table} WHERE {over} LIMIT {SWEPT_AT_ONCE} FOR UPDATE SKIP LOCKED)"
            );
            // Texts of this function only.
            let sweep = sqlx::query(sqlx::AssertSqlSafe(sql));
            tokio::time::timeout(LIMIT, sweep.execute(&self.pool)).await??;
        }
        Ok(())
    }
}

/// Tokens that are on their way.
#[derive(Debug, Default)]
struct OnTheWay {
    tasks: JoinSet<()>,
    /// Whose they are.
    tenants: HashMap<Id, String>,
}

impl OnTheWay {
    fn begin(&mut self, mailer: &Arc<Mailer>, row: DueRow) {
        let (mailer, role) = (Arc::clone(mailer), row.role.clone());
        let task = self.tasks.spawn(async move { mailer.hand_over(row).await });
        self.tenants.insert(task.id(), role);
    }

    /// Waits until some have arrived; forever if none is on its way.
    async fn arrived(&mut self) {
        let Some(first) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
        self.is_over(first);
        while let Some(next) = self.tasks.try_join_next_with_id() {
            self.is_over(next);
        }
    }

    fn is_over(&mut self, task: Result<(Id, ()), JoinError>) {
        self.tenants.remove(&task.map_or_else(|error| error.id(), |(id, ())| id));
    }
}

fn event(kind: &str) -> &'static str {
    match kind {
        "Recover" => "recover",
        "Invite" => "invite",
        "ChangeEmail" => "change_email",
        NOTICE => "notice",
        _ => "verify",
    }
}
