//! The steps of one tenant, from the first to the last.

use tenantry_crds::{definition::Migration, names::AppName, reason::Reason};

use super::Evolution;
use crate::{
    backend::postgres::{
        Cell,
        change::{Changes, Identity, RowChange},
        migrator::{self, Migrator, Session},
        observe,
        step::{Retyping, Step},
    },
    context::Context,
    error::{Class, Error},
    killpoint::killpoint,
    leader::Leadership,
};

/// A table above this many bytes is not written anew while its traffic waits: 10 s are about what that takes.
const REWRITTEN_BYTES: i64 = 256 << 20;

/// Carries the steps out. What makes room comes first, then the apps' own SQL; then all that the rest asks of the rows is
/// looked at, before any of it is asked for.
pub(super) async fn run(ctx: &Context, evolution: &Evolution) -> Result<(), Error> {
    let Evolution { tenant, cell, shard, steps } = evolution;
    let cell = ctx.backends.cell(cell)?;
    if steps.iter().any(|step| matches!(step, Step::Migrate(..))) {
        killpoint!("connections.sql", cell.shut_shared(*shard, tenant).await)?;
    }
    let migrator = cell.open_migrator(*shard, tenant).await?;
    let work = Work { leadership: &ctx.leadership, cell, evolution, migrator };
    let outcome = work.carry_out().await;
    let closed = cell.close_migrator(*shard, tenant).await;
    match &outcome {
        Ok(()) => tracing::info!(tenant = %tenant.name, steps = steps.len(), "evolved"),
        Err(error) => tracing::warn!(tenant = %tenant.name, %error, "a step failed"),
    }
    match outcome {
        Ok(()) => closed,
        Err(error) => Err(waited_for(cell, tenant, error).await),
    }
}

/// A change that could not have its table says who has it.
pub(in crate::tenant) async fn waited_for(cell: &Cell, tenant: &Identity, error: Error) -> Error {
    if error.sqlstate().as_deref() != Some("55P03") {
        return error;
    }
    match observe::lock_holders(cell.database(), tenant).await {
        Ok(holders) if !holders.is_empty() => Error::waiting(
            Reason::LockTimeout,
            format!(
                "waiting for {}; traffic goes on meanwhile, and the change is tried again",
                holders.join("; ")
            ),
        ),
        _ => Error::waiting(
            Reason::LockTimeout,
            "waiting for a table that is in use; the change is tried again",
        ),
    }
}

struct Work<'a> {
    leadership: &'a Leadership,
    cell: &'a Cell,
    evolution: &'a Evolution,
    migrator: Migrator,
}

impl Work<'_> {
    async fn carry_out(&self) -> Result<(), Error> {
        let Evolution { tenant, steps, .. } = self.evolution;
        let makes_room = |step: &Step| matches!(step, Step::Widen(_) | Step::Migrate(..));
        let after = steps.iter().position(|step| !makes_room(step)).unwrap_or(steps.len());
        let (first, rest) = steps.split_at(after);
        for step in first {
            self.still_leading().await?;
            match step {
                Step::Migrate(app, migration) => self.migrate(app, migration).await?,
                other => execute(tenant, &mut self.migrator.connect().await?, other).await?,
            }
        }
        if rest.is_empty() {
            return Ok(());
        }
        let mut session = self.migrator.connect().await?;
        look(tenant, &mut session, rest).await?;
        for step in rest {
            self.still_leading().await?;
            execute(tenant, &mut session, step).await?;
        }
        Ok(())
    }

    /// No transaction of ours spans a step, so the fence cannot hold a takeover up; it is asked before each one. A leader that
    /// froze in between loses its migrator to the next one, sessions and password.
    async fn still_leading(&self) -> Result<(), Error> {
        self.leadership.check()?;
        self.cell.fenced().await?.rollback().await.map_err(Error::database("checking the epoch"))
    }

    /// Runs a migration. What the registry knows of it is written before, with the transaction that it runs in: whether that
    /// was committed, Postgres can tell after any crash.
    async fn migrate(&self, app: &AppName, migration: &Migration) -> Result<(), Error> {
        let Evolution { tenant, shard, .. } = self.evolution;
        let write = |change| Changes { rows: vec![change], ..Changes::default() };
        let (attempt, transaction) = self.migrator.begin().await?;
        let begin = RowChange::BeginMigration {
            app: app.clone(),
            name: migration.name.clone(),
            checksum: migration.checksum.clone(),
            transaction,
        };
        killpoint!("migration.begin", self.cell.apply(*shard, tenant, &write(begin)).await)?;
        attempt.finish(migration).await.map_err(|error| in_terms_of_the_migration(app, migration, error))?;
        let end = RowChange::EndMigration(app.clone(), migration.name.clone());
        killpoint!("migration.end", self.cell.apply(*shard, tenant, &write(end)).await)?;
        tracing::info!(tenant = %tenant.name, %app, migration = migration.name, "migrated");
        Ok(())
    }
}

/// Counts the rows that stand in the way of `steps`.
async fn look(tenant: &Identity, session: &mut Session, steps: &[Step]) -> Result<(), Error> {
    let mut conflicts = Vec::new();
    for step in steps {
        if let Some(conflict) = conflict(tenant, session, step).await? {
            conflicts.push(conflict);
        }
    }
    if conflicts.is_empty() {
        Ok(())
    } else {
        Err(Error::blocked(Reason::DataConflict, conflicts.join("; ")))
    }
}

async fn conflict(tenant: &Identity, session: &mut Session, step: &Step) -> Result<Option<String>, Error> {
    let Some(probe) = step.probe(tenant) else { return Ok(None) };
    let rows = session.count(probe.sql).await?;
    let number = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
    Ok((rows > 0).then(|| format!("{}: {number} {}", step.place(), probe.problem)))
}

async fn execute(tenant: &Identity, session: &mut Session, step: &Step) -> Result<(), Error> {
    if let Step::Widen(change) | Step::Narrow(change) = step {
        refuse_long_rewrite(tenant, session, change).await?;
    }
    for statement in step.statements(tenant) {
        let Err(error) = session.execute(&statement).await else { continue };
        // Rows came in between the look and the change, or a unique index met two that are equal.
        let by_rows = error.sqlstate().is_some_and(|code| code.starts_with("23"));
        if !by_rows {
            return Err(error);
        }
        if let Some(undo) = step.undo(tenant) {
            session.execute(&undo).await?;
        }
        let conflict = conflict(tenant, session, step).await?;
        return Err(conflict.map_or(error, |conflict| Error::blocked(Reason::DataConflict, conflict)));
    }
    Ok(())
}

async fn refuse_long_rewrite(
    tenant: &Identity,
    session: &mut Session,
    change: &Retyping,
) -> Result<(), Error> {
    if !change.rewrites {
        return Ok(());
    }
    let bytes = session.count(change.size(tenant)).await?;
    if bytes <= REWRITTEN_BYTES {
        return Ok(());
    }
    Err(Error::blocked(
        Reason::DestructiveChangeBlocked,
        format!(
            "{}.{} becomes {}, for which Postgres writes the table anew while its traffic waits, and the table has {} MiB; \
             add a field with another name and fill it by a migration",
            change.table,
            change.column.name,
            change.column.sql_type,
            bytes >> 20
        ),
    ))
}

fn in_terms_of_the_migration(app: &AppName, migration: &Migration, error: Error) -> Error {
    let code = error.sqlstate();
    let waits = code.as_deref().is_some_and(|code| matches!(code, "55P03" | "40001" | "40P01" | "57P01"));
    let too_long = code.as_deref() == Some("57014");
    if waits || (!too_long && error.class() == Class::Transient) {
        return error;
    }
    let name = format!("migration {app}/{}", migration.name);
    let what = if too_long {
        format!("{name} took longer than {} s; split it", migrator::MIGRATION.as_secs())
    } else {
        format!("{name} failed: {}", error.brief())
    };
    let remedy =
        "nothing of it stays. Correct its sql under a new spec.version, or the rows that it is about";
    Error::blocked(Reason::MigrationFailed, format!("{what}; {remedy}"))
}
