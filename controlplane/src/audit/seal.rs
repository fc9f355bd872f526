//! The worker's part: seals rows in batches, one process at a time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    time::Duration,
};

use futures::TryStreamExt;
use sqlx::{Connection, FromRow, PgConnection};
use tenantry_crds::names::{InstanceName, TrafficLogin};
use tokio_util::sync::CancellationToken;

use super::{
    canonical::{self, Digest, Entry, Head, SealKey},
    chain::{self, Finding, SignedHead},
    horizon::{Holder, Horizons},
    metrics::SealMetrics,
    round::Round,
    row::{AuditRow, columns},
};
use crate::{
    database::Login,
    duty::{self, Duty, Lease, Name},
    error::Chain,
};

/// After the connection was lost.
const RECONNECT: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(20);

/// Seals the audit rows of a Postgres instance.
#[derive(Debug)]
pub struct Sealer {
    /// The instance.
    pub cell: InstanceName,
    /// How to connect to it.
    pub login: Login,
    /// The right to.
    pub duty: Duty,
    /// What heads are signed with.
    pub key: SealKey,
    /// Between two looks for new rows.
    pub pause: Duration,
    /// What was done.
    pub metrics: SealMetrics,
}

/// Why sealing pauses.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("the audit journal")]
    Database(#[from] sqlx::Error),
    #[error("the audit journal did not answer within {LIMIT:?}")]
    TooSlow(#[from] tokio::time::error::Elapsed),
    #[error(
        "a chain was signed with another key; if the key was changed, run `tenantry-controlplane audit sign`"
    )]
    OtherKey,
    #[error("another process sealed the same rows")]
    NotAlone,
    #[error("the right to seal")]
    Duty(#[from] duty::Lost),
}

/// A time in which this process is the one that seals.
#[derive(Debug)]
pub(super) struct Term<'a> {
    sealer: &'a Sealer,
    connection: PgConnection,
    lease: Lease,
    horizons: Horizons,
    /// Tenants that are not sealed as far as all others, and how far they are.
    late: BTreeMap<String, i64>,
}

/// A head as it is stored.
#[derive(Debug, FromRow)]
pub(super) struct HeadRow {
    pub role: String,
    seal: i64,
    rows: i64,
    upto: i64,
    hash: Vec<u8>,
    key_id: Vec<u8>,
    mac: Vec<u8>,
}

impl HeadRow {
    /// Nothing when the hash is none: a constraint was removed.
    pub fn read(self) -> Option<SignedHead> {
        let hash: Digest = self.hash.try_into().ok()?;
        let head = Head { seal: self.seal, rows: self.rows, upto: self.upto, hash };
        Some(SignedHead { head, key_id: self.key_id, mac: self.mac })
    }
}

/// New seals with their heads, by columns.
#[derive(Default)]
struct Batch {
    roles: Vec<String>,
    seals: Vec<i64>,
    uptos: Vec<i64>,
    rows: Vec<i64>,
    entries: Vec<Vec<u8>>,
    previous: Vec<Vec<u8>>,
    hashes: Vec<Vec<u8>>,
    macs: Vec<Vec<u8>>,
}

impl Sealer {
    /// Seals whenever no other process does, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            // A transaction that is cut off by the shutdown has sealed nothing.
            if let Err(lost) = self.duty.hold(&shutdown, async |lease| self.term(lease).await).await {
                tracing::warn!(instance = %self.cell, cause = %Chain(&lost), "sealing of the audit journal pauses");
                tokio::time::sleep(RECONNECT.mul_f64(rand::random_range(0.5..1.5))).await;
            }
        }
    }

    async fn term(&self, lease: Lease) -> Result<Infallible, Lost> {
        let connection = within(self.login.connect()).await?;
        let mut term = Term::begin(self, connection, lease).await?;
        tracing::info!(instance = %self.cell, "sealing the audit journal");
        loop {
            if !term.step().await? {
                tokio::time::sleep(self.pause).await;
            }
        }
    }
}

impl<'a> Term<'a> {
    /// Reads how far everybody is.
    pub async fn begin(sealer: &'a Sealer, mut connection: PgConnection, lease: Lease) -> Result<Self, Lost> {
        let late = sqlx::query_as::<_, (String, i64)>("SELECT role::text, upto FROM tenantry.audit_late");
        let late = within(late.fetch_all(&mut connection)).await?.into_iter().collect();
        Ok(Self { sealer, connection, lease, horizons: Horizons::default(), late })
    }

    /// Seals one window of rows; whether more wait.
    pub async fn step(&mut self) -> Result<bool, Lost> {
        let last = within::<i64, _>(
            sqlx::query_scalar(
                "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM tenantry.audit_id",
            )
            .fetch_one(&mut self.connection),
        )
        .await?;
        let sealed = within::<i64, _>(
            sqlx::query_scalar("SELECT upto FROM tenantry.audit_horizon").fetch_one(&mut self.connection),
        )
        .await?;
        self.sealer.metrics.waiting(&self.sealer.cell, (last - sealed).max(0));
        if last <= sealed && self.late.is_empty() {
            return Ok(false);
        }
        let holders = self.holders().await?;
        self.horizons.observe(last, holders);
        let round = Round::plan(sealed, &self.late, &self.horizons);
        // That somebody is late now is nothing to write down before others go on.
        if round.is_empty() {
            return Ok(false);
        }
        let rows = self.read(&round).await?;
        let count = rows.values().map(Vec::len).sum();
        let late = round.late();
        within(self.seal(&round, &late, rows)).await?;
        self.late = late;
        self.sealer.metrics.sealed(&self.sealer.cell, count);
        Ok(round.more)
    }

    /// Who holds the sequence. To be asked after the last id was read, in a statement of its own: see `horizon`.
    async fn holders(&mut self) -> Result<Vec<Holder>, Lost> {
        let query = sqlx::query_as::<_, (String, Option<String>)>(
            "SELECT DISTINCT l.virtualtransaction, a.usename::text FROM pg_catalog.pg_locks l \
             LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'relation' AND l.relation = 'tenantry.audit_id'::regclass AND l.mode = 'RowExclusiveLock' \
               AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())",
        );
        let holders = within(query.fetch_all(&mut self.connection)).await?;
        let holder = |(transaction, login): (String, Option<String>)| Holder {
            transaction,
            role: login.as_deref().and_then(TrafficLogin::role_of).map(str::to_owned),
        };
        Ok(holders.into_iter().map(holder).collect())
    }

    /// The rows of the round by tenant. Only digests are kept: what a row says may be large.
    async fn read(&mut self, round: &Round) -> Result<BTreeMap<String, Vec<Entry>>, Lost> {
        let apart: Vec<&str> = round.apart.keys().map(String::as_str).collect();
        let (after, upto): (Vec<i64>, Vec<i64>) = round.apart.values().copied().unzip();
        let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let read = async {
            let window = sqlx::query_as::<_, AuditRow>(concat!(
                "SELECT ",
                columns!(),
                " FROM tenantry.audit WHERE id > $1 AND id <= $2 AND role <> ALL ($3::text[]::name[])"
            ));
            let window = window.bind(round.after).bind(round.upto).bind(&apart);
            let own = sqlx::query_as::<_, AuditRow>(concat!(
                "SELECT ",
                columns!(),
                " FROM tenantry.audit JOIN unnest($1::text[]::name[], $2::bigint[], $3::bigint[]) AS apart (of, after, upto) \
                  ON role = of AND id > after AND id <= apart.upto"
            ));
            let own = own.bind(&apart).bind(after).bind(upto);
            for query in [window, own] {
                let mut rows = query.fetch(&mut self.connection);
                while let Some(row) = rows.try_next().await? {
                    let entry = row.entry();
                    entries.entry(row.role).or_default().push(entry);
                }
            }
            Ok::<_, sqlx::Error>(())
        };
        within(read).await?;
        entries.values_mut().for_each(|entries| entries.sort_unstable_by_key(|entry| entry.id));
        Ok(entries)
    }

    async fn seal(
        &mut self,
        round: &Round,
        late: &BTreeMap<String, i64>,
        rows: BTreeMap<String, Vec<Entry>>,
    ) -> Result<(), Lost> {
        let mut transaction = self.connection.begin().await?;
        if !rows.is_empty() {
            // The purge of a deleted tenant waits for this, or is through: then the role is gone, and nothing of it is sealed.
            sqlx::query("LOCK TABLE tenantry.audit_head IN SHARE ROW EXCLUSIVE MODE")
                .execute(&mut *transaction)
                .await?;
            let roles: Vec<&str> = rows.keys().map(String::as_str).collect();
            let there: BTreeSet<String> = sqlx::query_scalar(
                "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY ($1::name[])",
            )
            .bind(&roles)
            .fetch_all(&mut *transaction)
            .await?
            .into_iter()
            .collect();
            let heads: Vec<HeadRow> = sqlx::query_as(
                "SELECT role::text AS role, seal, rows, upto, hash, key_id, mac FROM tenantry.audit_head \
                 WHERE role = ANY ($1::name[])",
            )
            .bind(&roles)
            .fetch_all(&mut *transaction)
            .await?;
            let now: i64 = sqlx::query_scalar("SELECT (extract(epoch FROM now()) * 1000000)::bigint")
                .fetch_one(&mut *transaction)
                .await?;
            let mut heads: HashMap<String, _> =
                heads.into_iter().map(|row| (row.role.clone(), row.read())).collect();
            let mut batch = Batch::default();
            for (role, entries) in rows.into_iter().filter(|(role, _)| there.contains(role)) {
                let head = match heads.remove(&role) {
                    None => Head::NONE,
                    Some(stored) => match self.sealer.trusted(&role, stored)? {
                        Some(head) => head,
                        None => continue,
                    },
                };
                let (seal, head) = chain::next(&role, &head, round.end_of(&role), entries, now);
                batch.macs.push(self.sealer.key.sign(&role, &head));
                batch.roles.push(role);
                batch.seals.push(seal.seal);
                batch.uptos.push(seal.upto);
                batch.rows.push(head.rows);
                batch.entries.push(canonical::encode(&seal.entries));
                batch.previous.push(seal.previous.to_vec());
                batch.hashes.push(seal.hash.to_vec());
            }
            batch.store(&mut transaction, now, self.sealer.key.id()).await?;
        }
        if *late != self.late {
            keep_late(&mut transaction, late).await?;
        }
        // The fence: another process that has the duty, or had it meanwhile, has moved one of them.
        let moved = sqlx::query(
            "UPDATE tenantry.audit_horizon SET upto = $2 WHERE upto = $1 \
             AND EXISTS (SELECT FROM tenantry.duty WHERE name = $3 AND epoch = $4)",
        )
        .bind(round.after)
        .bind(round.upto)
        .bind(Name::Seal.as_str())
        .bind(self.lease.epoch())
        .execute(&mut *transaction)
        .await?;
        if moved.rows_affected() != 1 {
            return Err(Lost::NotAlone);
        }
        self.lease.check()?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Replaces what is known of tenants that are late.
async fn keep_late(connection: &mut PgConnection, late: &BTreeMap<String, i64>) -> sqlx::Result<()> {
    let (roles, uptos): (Vec<&str>, Vec<i64>) =
        late.iter().map(|(role, upto)| (role.as_str(), *upto)).unzip();
    sqlx::query("DELETE FROM tenantry.audit_late WHERE role <> ALL ($1::text[]::name[])")
        .bind(&roles)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO tenantry.audit_late (role, upto) SELECT role::name, upto FROM unnest($1::text[], $2::bigint[]) AS late (role, upto) \
         ON CONFLICT (role) DO UPDATE SET upto = excluded.upto WHERE audit_late.upto <> excluded.upto",
    )
    .bind(&roles)
    .bind(&uptos)
    .execute(connection)
    .await?;
    Ok(())
}

impl Sealer {
    /// The head to go on from; nothing when it is forged. To go on from that one would sign what somebody else made.
    fn trusted(&self, role: &str, stored: Option<SignedHead>) -> Result<Option<Head>, Lost> {
        let finding =
            stored.as_ref().map_or(Some(Finding::HeadWrong), |stored| stored.finding(role, &self.key));
        match finding {
            None => Ok(stored.map(|stored| stored.head)),
            Some(Finding::OtherKey) => Err(Lost::OtherKey),
            Some(finding) => {
                tracing::error!(role, %finding, "the audit chain of a tenant is broken; its rows are not sealed");
                self.metrics.broken(&self.cell);
                Ok(None)
            }
        }
    }
}

impl Batch {
    async fn store(&self, connection: &mut PgConnection, now: i64, key: &[u8]) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO tenantry.audit_seal (role, seal, upto, entries, sealed_at, previous, hash) \
             SELECT role::name, seal, upto, entries, 'epoch'::timestamptz + $4 * interval '1 microsecond', previous, hash \
             FROM unnest($1::text[], $2::bigint[], $3::bigint[], $5::bytea[], $6::bytea[], $7::bytea[]) \
                  AS new (role, seal, upto, entries, previous, hash)",
        )
        .bind(&self.roles)
        .bind(&self.seals)
        .bind(&self.uptos)
        .bind(now)
        .bind(&self.entries)
        .bind(&self.previous)
        .bind(&self.hashes)
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "INSERT INTO tenantry.audit_head (role, seal, rows, upto, hash, key_id, mac) \
             SELECT role::name, seal, rows, upto, hash, $4, mac \
             FROM unnest($1::text[], $2::bigint[], $3::bigint[], $5::bigint[], $6::bytea[], $7::bytea[]) \
                  AS new (role, seal, upto, rows, hash, mac) \
             ON CONFLICT (role) DO UPDATE SET seal = excluded.seal, rows = excluded.rows, upto = excluded.upto, \
                 hash = excluded.hash, key_id = excluded.key_id, mac = excluded.mac",
        )
        .bind(&self.roles)
        .bind(&self.seals)
        .bind(&self.uptos)
        .bind(key)
        .bind(&self.rows)
        .bind(&self.hashes)
        .bind(&self.macs)
        .execute(connection)
        .await?;
        Ok(())
    }
}

async fn within<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Lost>
where
    Lost: From<E>,
{
    tokio::time::timeout(LIMIT, work).await?.map_err(Lost::from)
}
