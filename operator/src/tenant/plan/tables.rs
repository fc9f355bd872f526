//! Tables, columns, indexes, constraints and sequences.

use tenantry_crds::{
    names::{RelationKind, RelationName},
    v1alpha1::OnDelete,
};
use tenantry_migrations::layout::{Column, ForeignKey, Index, PLATFORM_COLUMNS, TableLayout};

use super::{
    Around, Desired,
    expressions::{NOT_VALID, allowed_texts},
    work::Work,
};
use crate::{
    backend::postgres::{
        change::ObjectChange,
        ddl::on_delete,
        observe::{Observed, ObservedTable},
        step::Step,
    },
    tenant::desired::DesiredApp,
};

/// The table of a document type as it should be and as it is.
pub(super) struct Pair<'a> {
    pub app: &'a DesiredApp,
    pub layout: &'a TableLayout,
    pub have: &'a ObservedTable,
    /// The app's definition is another one than the tables are at.
    pub new_version: bool,
    /// It is known to hold no row: nothing has to be looked at, and nobody waits.
    pub empty: bool,
}

/// Adds the changes of all tables: foreign keys last, since references may form a cycle.
pub(super) fn changes(desired: &Desired, observed: &Observed, around: &Around, work: &mut Work) {
    for app in &desired.apps {
        for layout in &app.tables {
            sequence(layout, observed, work);
            match pair(app, layout, observed, around) {
                None => create(layout, work),
                Some(pair) => repair(&pair, work),
            }
        }
    }
    for app in &desired.apps {
        for layout in &app.tables {
            let pair = pair(app, layout, observed, around);
            for key in &layout.foreign_keys {
                reference(app, layout, key, pair.as_ref(), work);
            }
        }
    }
}

fn pair<'a>(
    app: &'a DesiredApp,
    layout: &'a TableLayout,
    observed: &'a Observed,
    around: &Around,
) -> Option<Pair<'a>> {
    let have = observed.tables.get(layout.table.as_str())?;
    let empty = around.empty_tables.iter().any(|table| table == layout.table.as_str());
    Some(Pair { app, layout, have, new_version: !app.is_installed(observed), empty })
}

fn sequence(layout: &TableLayout, observed: &Observed, work: &mut Work) {
    let Some(series) = &layout.series else { return };
    match observed.sequences.get(series.as_str()) {
        None if observed.tables.contains_key(layout.table.as_str()) => {
            work.objects.push(ObjectChange::ContinueSequence(layout.table.clone(), series.clone()));
        }
        None => work.objects.push(ObjectChange::CreateSequence(series.clone())),
        Some(false) => work.objects.push(ObjectChange::GrantSequence(series.clone())),
        Some(true) => {}
    }
}

fn create(layout: &TableLayout, work: &mut Work) {
    work.objects.push(ObjectChange::CreateTable(layout.clone()));
    let indexes = layout.indexes.iter().cloned();
    work.objects.extend(indexes.map(|index| ObjectChange::CreateIndex(layout.table.clone(), index)));
}

fn repair(pair: &Pair<'_>, work: &mut Work) {
    let (table, have) = (&pair.layout.table, pair.have);
    if !have.granted {
        work.objects.push(ObjectChange::GrantTable(table.clone()));
    }
    for column in &pair.layout.columns {
        if have.columns.contains_key(&column.name) {
            super::columns::repair(pair, column, work);
            check(pair, column, work);
        } else {
            work.objects.push(ObjectChange::AddColumn(table.clone(), column.clone()));
            // With a default it is NOT NULL as it is added: the rows that are there have one by then.
            if column.not_null && column.default.is_none() {
                super::columns::require(pair, column, work);
            }
        }
    }
    // A field that was taken out of the definition must not refuse the rows that do not know it.
    let gone = have.columns.iter().filter(|(name, _)| pair.layout.columns.iter().all(|c| c.name != **name));
    for (name, _) in gone.filter(|(_, column)| column.not_null && column.default.is_none()) {
        work.objects.push(ObjectChange::DropNotNull(table.clone(), name.clone()));
    }
    if !have.primary_key {
        work.objects.push(ObjectChange::AddPrimaryKey(table.clone()));
    }
    indexes(pair, work);
}

/// Values that the definition adds are allowed from now on. One that it takes out must be acknowledged, and in no row.
fn check(pair: &Pair<'_>, column: &Column, work: &mut Work) {
    let table = &pair.layout.table;
    let name = RelationName::of(table, &column.name, RelationKind::Check);
    let found = pair.have.constraints.get(name.as_str());
    let Some(wanted) = &column.one_of else {
        if found.is_some() {
            work.objects.push(ObjectChange::DropCheck(table.clone(), column.name.clone()));
        }
        return;
    };
    let valid = found.is_none_or(|found| !found.ends_with(NOT_VALID));
    let allowed = found.and_then(|found| allowed_texts(found));
    if allowed.as_ref() == Some(wanted) && valid {
        return;
    }
    let taken_out: Vec<&str> = match &allowed {
        Some(allowed) => allowed.iter().filter(|text| !wanted.contains(text)).map(String::as_str).collect(),
        None => vec!["any other text"],
    };
    if pair.new_version && !taken_out.is_empty() && !pair.is_narrowing_allowed(column) {
        let what = format!("{table}.{} does not take {} any more", column.name, taken_out.join(", "));
        work.refuse_narrowing(pair, column, &what);
    } else if !pair.empty {
        work.step(pair.app, Step::Check(table.clone(), column.clone()));
    } else if found.is_some() {
        work.objects.push(ObjectChange::ReplaceCheck(table.clone(), column.clone()));
    } else {
        work.objects.push(ObjectChange::AddCheck(table.clone(), column.clone()));
    }
}

fn indexes(pair: &Pair<'_>, work: &mut Work) {
    for index in &pair.layout.indexes {
        if !pair.have.indexes.contains_key(index.name.as_str()) {
            build(pair, index, work);
        }
    }
    // A field that need not be unique any more must not refuse equal values.
    for column in &pair.layout.columns {
        let name = RelationName::of(&pair.layout.table, &column.name, RelationKind::Unique);
        let wanted = pair.layout.indexes.iter().any(|index| index.name == name);
        let there = pair.have.indexes.contains_key(name.as_str()) || pair.has_invalid(&name);
        if there && !wanted {
            work.objects.push(ObjectChange::DropIndex(name));
        }
    }
}

fn build(pair: &Pair<'_>, index: &Index, work: &mut Work) {
    let (table, leftover) = (pair.layout.table.clone(), pair.has_invalid(&index.name));
    if !pair.empty {
        work.step(pair.app, Step::BuildIndex { table, index: index.clone(), leftover });
        return;
    }
    if leftover {
        work.objects.push(ObjectChange::DropIndex(index.name.clone()));
    }
    work.objects.push(ObjectChange::CreateIndex(table, index.clone()));
}

fn reference(
    app: &DesiredApp,
    layout: &TableLayout,
    key: &ForeignKey,
    pair: Option<&Pair<'_>>,
    work: &mut Work,
) {
    let found = pair.and_then(|pair| pair.have.constraints.get(key.name.as_str()));
    let replaces = found.is_some_and(|found| on_delete_of(found) != key.on_delete);
    let in_place = found.is_some() && !replaces;
    if in_place && found.is_some_and(|found| !found.ends_with(NOT_VALID)) {
        return;
    }
    let table = layout.table.clone();
    match pair {
        Some(pair) if !pair.empty || in_place => {
            work.step(app, Step::Reference { table, key: key.clone(), in_place, replaces });
        }
        _ if replaces => work.objects.push(ObjectChange::ReplaceForeignKey(table, key.clone())),
        _ => work.objects.push(ObjectChange::AddForeignKey(table, key.clone())),
    }
}

/// What a foreign key that is there does when a document is deleted.
fn on_delete_of(found: &str) -> OnDelete {
    let found = found.strip_suffix(NOT_VALID).unwrap_or(found);
    let actions = [OnDelete::Cascade, OnDelete::SetNull];
    actions.into_iter().find(|action| found.ends_with(on_delete(*action))).unwrap_or_default()
}

impl Pair<'_> {
    fn has_invalid(&self, index: &RelationName) -> bool {
        self.have.invalid_indexes.iter().any(|name| name == index.as_str())
    }

    /// Platform columns are not the definition's.
    pub(super) fn is_of_a_field(column: &Column) -> bool {
        !PLATFORM_COLUMNS.contains(&column.name.as_str())
    }
}
