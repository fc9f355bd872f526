//! The command `audit`: checks chains, or signs them anew after a change of the key.

use std::{collections::BTreeSet, io::Write};

use futures::TryStreamExt;
use sqlx::{Acquire, FromRow, PgConnection, PgPool};
use tenantry_config::settings;
use tenantry_crds::names::{TenantName, TenantRole};

use super::{
    canonical::{self, Entry, Seal, SealKey},
    chain::{Check, Checked, Finding},
    row::{AuditRow, columns},
    seal::HeadRow,
};
use crate::{
    cli::{AuditCommand, AuditOf},
    instances::Instances,
    postgres::{DatabaseMetrics, Tuning},
    start::StartError,
};

/// Seals that are read at once.
const SEALS: i64 = 64;

#[derive(Debug, FromRow)]
struct SealRow {
    seal: i64,
    upto: i64,
    entries: Vec<u8>,
    sealed_micros: i64,
    previous: Vec<u8>,
    hash: Vec<u8>,
}

impl SealRow {
    /// What cannot be read becomes a seal whose hash is wrong.
    fn read(self) -> Seal {
        Seal {
            seal: self.seal,
            upto: self.upto,
            entries: canonical::decode(&self.entries).unwrap_or_default(),
            sealed_micros: self.sealed_micros,
            previous: self.previous.try_into().unwrap_or([0; 32]),
            hash: self.hash.try_into().unwrap_or([0; 32]),
        }
    }
}

/// Runs the command; writes a line for each tenant and each finding.
///
/// # Errors
/// When something was found, or a database does not answer.
pub async fn run(settings: &settings::ControlPlane, command: AuditCommand) -> Result<(), StartError> {
    let key = SealKey::derive(&settings.database.traffic_key);
    let (AuditCommand::Verify(of) | AuditCommand::Sign(of)) = &command;
    let (mut tenants, mut found) = (0, 0);
    for cell in Instances::new(settings, Tuning::default(), &DatabaseMetrics::unregistered()?)?.cells {
        for role in roles(&cell.pool, of).await? {
            let checked = check(&cell.pool, &role, &key).await?;
            tenants += 1;
            let only_the_key = checked.findings.as_slice() == [Finding::OtherKey];
            if only_the_key && matches!(command, AuditCommand::Sign(_)) {
                sign(&cell.pool, &role, &checked, &key).await?;
                tell(format_args!("{role}: signed anew"))?;
                continue;
            }
            found += checked.found;
            report(&role, &checked)?;
        }
        cell.pool.close().await;
    }
    match (tenants, found) {
        (0, _) => Err(StartError::NoSuchTenant(of.tenant.clone().unwrap_or_default())),
        (_, 0) => Ok(()),
        (_, found) => Err(StartError::AuditFindings(found)),
    }
}

fn report(role: &str, checked: &Checked) -> Result<(), StartError> {
    let last = &checked.last;
    let head: String = last.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let verdict = if checked.found == 0 { "ok" } else { "BROKEN" };
    tell(format_args!(
        "{role}: {verdict}, {} rows in {} seals, up to row {}, head {head}",
        last.rows, last.seal, last.upto
    ))?;
    for finding in &checked.findings {
        tell(format_args!("{role}: {finding}"))?;
    }
    match checked.found - checked.findings.len() {
        0 => Ok(()),
        more => tell(format_args!("{role}: and {more} more")),
    }
}

fn tell(line: std::fmt::Arguments<'_>) -> Result<(), StartError> {
    writeln!(std::io::stdout(), "{line}").map_err(StartError::Output)
}

/// The roles of all tenants that the registry or a head knows of, or of one tenant.
async fn roles(pool: &PgPool, of: &AuditOf) -> Result<BTreeSet<String>, StartError> {
    let one = match &of.tenant {
        None => None,
        Some(name) => {
            let name = TenantName::new(name).map_err(|_| StartError::NoSuchTenant(name.clone()))?;
            Some(TenantRole::of(&name).as_str().to_owned())
        }
    };
    let known: Vec<String> = sqlx::query_scalar(
        "SELECT role::text FROM tenantry.audit_head WHERE $1::text IS NULL OR role = $1::name \
         UNION SELECT tenant_role FROM tenantry.tenant WHERE $1::text IS NULL OR tenant_role = $1",
    )
    .bind(one)
    .fetch_all(pool)
    .await?;
    Ok(known.into_iter().collect())
}

/// Checks the chain of a tenant, as it is at one moment.
pub(super) async fn check(pool: &PgPool, role: &str, key: &SealKey) -> sqlx::Result<Checked> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .execute(&mut *transaction)
        .await?;
    let mut check = Check::of(role);
    loop {
        let seals: Vec<SealRow> = sqlx::query_as(
            "SELECT seal, upto, entries, (extract(epoch FROM sealed_at) * 1000000)::bigint AS sealed_micros, previous, hash \
             FROM tenantry.audit_seal WHERE role = $1::name AND seal > $2 ORDER BY seal LIMIT $3",
        )
        .bind(role)
        .bind(check.last().seal)
        .bind(SEALS)
        .fetch_all(&mut *transaction)
        .await?;
        let seals: Vec<Seal> = seals.into_iter().map(SealRow::read).collect();
        let Some(upto) = seals.iter().map(|seal| seal.upto).max() else { break };
        let rows = entries(&mut transaction, role, check.after(), upto).await?;
        let mut rows = rows.as_slice();
        for seal in &seals {
            let (its, rest) = rows.split_at(rows.partition_point(|row| row.id <= seal.upto));
            check.seal(seal, its);
            rows = rest;
        }
    }
    let head: Option<HeadRow> = sqlx::query_as(
        "SELECT role::text AS role, seal, rows, upto, hash, key_id, mac FROM tenantry.audit_head WHERE role = $1::name",
    )
    .bind(role)
    .fetch_optional(&mut *transaction)
    .await?;
    let unsealed: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM tenantry.audit WHERE role = $1::name AND id > $2 \
         AND id <= (SELECT upto FROM tenantry.audit_horizon) ORDER BY id",
    )
    .bind(role)
    .bind(check.after())
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(check.finish(head.and_then(HeadRow::read).as_ref(), key, &unsealed))
}

async fn entries(
    connection: &mut PgConnection,
    role: &str,
    after: i64,
    upto: i64,
) -> sqlx::Result<Vec<Entry>> {
    sqlx::query_as::<_, AuditRow>(concat!(
        "SELECT ",
        columns!(),
        " FROM tenantry.audit WHERE role = $1::name AND id > $2 AND id <= $3 ORDER BY id"
    ))
    .bind(role)
    .bind(after)
    .bind(upto)
    .fetch(connection)
    .map_ok(|row| row.entry())
    .try_collect()
    .await
}

async fn sign(pool: &PgPool, role: &str, checked: &Checked, key: &SealKey) -> sqlx::Result<()> {
    sqlx::query("UPDATE tenantry.audit_head SET key_id = $3, mac = $4 WHERE role = $1::name AND hash = $2")
        .bind(role)
        .bind(checked.last.hash.as_slice())
        .bind(key.id())
        .bind(key.sign(role, &checked.last))
        .execute(pool)
        .await?;
    Ok(())
}
