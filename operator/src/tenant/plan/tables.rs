//! Tables, columns, indexes, constraints and sequences.

use std::collections::BTreeMap;

use tenantry_crds::{
    names::{RelationKind, RelationName, TableName},
    reason::Reason,
};
use tenantry_migrations::layout::{Column, PLATFORM_COLUMNS, TableLayout};

use super::{Desired, checks::allowed_texts};
use crate::{
    backend::postgres::{
        change::ObjectChange,
        observe::{Observed, ObservedColumn, ObservedTable},
    },
    error::Error,
};

/// Adds the changes of all tables: foreign keys last, since references may form a cycle.
pub(super) fn changes(
    desired: &Desired,
    observed: &Observed,
    changes: &mut Vec<ObjectChange>,
) -> Result<(), Error> {
    for app in &desired.apps {
        let is_at = |version: &str| {
            observed.apps.iter().any(|row| row.app == app.name.as_str() && row.version == version)
        };
        // A definition changes only with its version, so defaults need no look as long as that is the same.
        let new_version = !is_at(&app.version);
        for layout in &app.tables {
            sequence(layout, observed, changes);
            match observed.tables.get(layout.table.as_str()) {
                None => create(layout, changes),
                Some(table) => repair(layout, table, new_version, changes)?,
            }
        }
    }
    for layout in desired.tables() {
        let have = observed.tables.get(layout.table.as_str());
        let missing = |name: &RelationName| have.is_none_or(|t| !t.constraints.contains_key(name.as_str()));
        for key in layout.foreign_keys.iter().filter(|key| missing(&key.name)) {
            changes.push(ObjectChange::AddForeignKey(layout.table.clone(), key.clone()));
        }
    }
    Ok(())
}

fn sequence(layout: &TableLayout, observed: &Observed, changes: &mut Vec<ObjectChange>) {
    let Some(series) = &layout.series else { return };
    match observed.sequences.get(series.as_str()) {
        None => changes.push(ObjectChange::CreateSequence(series.clone())),
        Some(false) => changes.push(ObjectChange::GrantSequence(series.clone())),
        Some(true) => {}
    }
}

fn create(layout: &TableLayout, changes: &mut Vec<ObjectChange>) {
    changes.push(ObjectChange::CreateTable(layout.clone()));
    let indexes = layout.indexes.iter().cloned();
    changes.extend(indexes.map(|index| ObjectChange::CreateIndex(layout.table.clone(), index)));
}

fn repair(
    layout: &TableLayout,
    have: &ObservedTable,
    new_version: bool,
    changes: &mut Vec<ObjectChange>,
) -> Result<(), Error> {
    let table = &layout.table;
    if !have.granted {
        changes.push(ObjectChange::GrantTable(table.clone()));
    }
    for column in &layout.columns {
        match have.columns.get(&column.name) {
            None => changes.push(ObjectChange::AddColumn(table.clone(), column.clone())),
            Some(found) => repair_column(table, column, found, new_version, changes)?,
        }
        if have.columns.contains_key(&column.name) {
            repair_check(table, column, &have.constraints, changes);
        }
    }
    // A field that was taken out of the definition must not refuse the rows that do not know it.
    let gone = have.columns.iter().filter(|(name, _)| layout.columns.iter().all(|c| c.name != **name));
    for (name, _) in gone.filter(|(_, column)| column.not_null && !column.has_default) {
        changes.push(ObjectChange::DropNotNull(table.clone(), name.clone()));
    }
    if !have.primary_key {
        changes.push(ObjectChange::AddPrimaryKey(table.clone()));
    }
    repair_indexes(layout, have, changes);
    Ok(())
}

fn repair_column(
    table: &TableName,
    column: &Column,
    found: &ObservedColumn,
    new_version: bool,
    changes: &mut Vec<ObjectChange>,
) -> Result<(), Error> {
    let wanted = column.sql_type.to_string();
    if found.sql_type != wanted {
        return Err(Error::blocked(
            Reason::DestructiveChangeBlocked,
            format!(
                "{table}.{} is {} and the definition asks for {wanted}; keep the type, or add a field with another name",
                column.name, found.sql_type
            ),
        ));
    }
    if found.not_null && !column.not_null {
        changes.push(ObjectChange::DropNotNull(table.clone(), column.name.clone()));
    }
    let of_a_field = !PLATFORM_COLUMNS.contains(&column.name.as_str());
    let differs = column.default.is_some() != found.has_default;
    if differs || (new_version && of_a_field && column.default.is_some()) {
        changes.push(ObjectChange::SetDefault(table.clone(), column.clone()));
    }
    Ok(())
}

/// Values that the definition adds are allowed from now on. Whether one that it takes out is in use, only Postgres can
/// tell: it then refuses the new check, see `apply`.
fn repair_check(
    table: &TableName,
    column: &Column,
    have: &BTreeMap<String, String>,
    changes: &mut Vec<ObjectChange>,
) {
    let name = RelationName::of(table, &column.name, RelationKind::Check);
    let change = match (&column.one_of, have.get(name.as_str())) {
        (None, None) => return,
        (Some(_), None) => ObjectChange::AddCheck(table.clone(), column.clone()),
        (None, Some(_)) => ObjectChange::DropCheck(table.clone(), column.name.clone()),
        (Some(wanted), Some(found)) if allowed_texts(found).as_ref() == Some(wanted) => return,
        (Some(_), Some(_)) => ObjectChange::ReplaceCheck(table.clone(), column.clone()),
    };
    changes.push(change);
}

fn repair_indexes(layout: &TableLayout, have: &ObservedTable, changes: &mut Vec<ObjectChange>) {
    for index in &layout.indexes {
        if !have.indexes.contains_key(index.name.as_str()) {
            changes.push(ObjectChange::CreateIndex(layout.table.clone(), index.clone()));
        }
    }
    // A field that need not be unique any more must not refuse equal values.
    for column in &layout.columns {
        let name = RelationName::of(&layout.table, &column.name, RelationKind::Unique);
        if have.indexes.contains_key(name.as_str()) && layout.indexes.iter().all(|index| index.name != name) {
            changes.push(ObjectChange::DropIndex(name));
        }
    }
}
