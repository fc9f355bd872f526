//! The apps' own SQL.

use tenantry_crds::reason::Reason;

use super::{Desired, work::Work};
use crate::backend::postgres::{change::RowChange, observe::Observed, step::Step};

/// Adds the migrations that have not run, in their order. Those of a tenant whose tables outlived its rows in the registry
/// count as run: they may not run twice, and the tables are what they left.
pub(super) fn changes(desired: &Desired, observed: &Observed, work: &mut Work) -> Vec<RowChange> {
    let outlived = observed.record.is_none() && observed.schema.is_some();
    let mut rows = Vec::new();
    for app in &desired.apps {
        let has_tables = app.tables.iter().any(|table| observed.tables.contains_key(table.table.as_str()));
        for migration in &app.definition.migrations {
            let record = observed.migrations.iter().find(|record| {
                record.app == app.name.as_str() && record.name == migration.name && record.ran
            });
            match record {
                Some(record) if record.checksum == migration.checksum => {
                    // It was committed, and the operator died before it could say so.
                    if !record.ended {
                        rows.push(RowChange::EndMigration(app.name.clone(), migration.name.clone()));
                    }
                }
                Some(_) => work.refuse(
                    Reason::MigrationFailed,
                    format!(
                        "migration {}/{} ran with another text; give it that text again, and what is new another name",
                        app.name, migration.name
                    ),
                ),
                None if outlived && has_tables => rows.push(RowChange::TakeMigrationAsRun(
                    app.name.clone(),
                    migration.name.clone(),
                    migration.checksum.clone(),
                )),
                None => work.step(app, Step::Migrate(app.name.clone(), migration.clone())),
            }
        }
    }
    rows
}
