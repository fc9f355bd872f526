//! What the definition does not have any more and somebody wants gone.

use tenantry_crds::{
    definition::Destructive,
    names::{RelationKind, RelationName, SideTable, TableName},
};

use super::{Desired, work::Work};
use crate::backend::postgres::{change::ObjectChange, observe::Observed};

/// Adds the drops of apps whose tables are at the wanted version: until then, replicas serve the one before, which reads what
/// goes. Whether there are drops that wait for that.
pub(super) fn changes(desired: &Desired, observed: &Observed, work: &mut Work) -> bool {
    let mut wait = false;
    for app in &desired.apps {
        let drops: Vec<ObjectChange> =
            app.allowed.iter().flat_map(|entry| drops(app, entry, observed)).collect();
        if app.is_installed(observed) && !work.held.contains(&app.name) {
            work.objects.extend(drops);
        } else {
            wait |= !drops.is_empty();
        }
    }
    wait
}

fn drops(
    app: &crate::tenant::desired::DesiredApp,
    entry: &Destructive,
    observed: &Observed,
) -> Vec<ObjectChange> {
    match entry {
        Destructive::DropField(doc_type, field) => {
            let table = TableName::of(&app.name, doc_type);
            let wanted = app.tables.iter().find(|layout| layout.table == table);
            let is_wanted = wanted
                .is_some_and(|layout| layout.columns.iter().any(|column| column.name == field.as_str()));
            let have = observed.tables.get(table.as_str());
            if is_wanted || have.is_none_or(|have| !have.columns.contains_key(field.as_str())) {
                return Vec::new();
            }
            vec![ObjectChange::DropColumn(table, field.as_str().to_owned())]
        }
        Destructive::DropDocType(doc_type) => {
            let table = TableName::of(&app.name, doc_type);
            if app.tables.iter().any(|layout| layout.table == table) {
                return Vec::new();
            }
            let mut drops = Vec::new();
            let beside = [SideTable::History, SideTable::Counter].map(|kind| table.beside(kind));
            for table in std::iter::once(&table).chain(&beside) {
                if observed.tables.contains_key(table.as_str()) {
                    drops.push(ObjectChange::DropTable(table.clone()));
                }
            }
            let series = RelationName::of(&table, "id", RelationKind::Series);
            if observed.sequences.contains_key(series.as_str()) {
                drops.push(ObjectChange::DropSequence(series));
            }
            drops
        }
        Destructive::Narrow(..) => Vec::new(),
    }
}
