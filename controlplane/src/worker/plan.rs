//! What a batch of events means for each index. Pure.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use tenantry_crds::{definition::DocType, names::InstanceName};

use super::outbox::{EventRow, Target};
use crate::{
    registry::{Availability, SearchBinding, Snapshot, TenantEntry},
    search::indexed,
};

/// Seconds after which an event of a tenant that the registry does not know is not of one that it will know in a moment.
const UNKNOWN_TENANT_SECONDS: f64 = 60.0;

/// The id of an event.
pub(super) type EventId = (String, i64);

/// The events of one index, in order.
#[derive(Debug)]
pub(super) struct Group {
    /// What is written for it, in [`super::hold::Holds`] and in SQL.
    pub key: String,
    pub events: Vec<EventRow>,
    pub fate: Fate,
}

/// What is to be done with the events of one index.
#[derive(Debug, PartialEq)]
pub(super) enum Fate {
    /// No index wants them, or it will read the documents themselves when it is first filled.
    Unwanted,
    /// Their index cannot take them now.
    Wait,
    /// They go into this index, if it is filled.
    Index(Target),
}

/// The change that some events come to for one index.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Change {
    /// Documents to put, with the events that they stand for.
    pub put: Vec<(Value, Vec<EventId>)>,
    /// Keys of documents to remove.
    pub delete: Vec<String>,
    /// The events that `delete` stands for.
    pub deletions: Vec<EventId>,
    /// Events that cannot be understood.
    pub unfit: Vec<EventId>,
}

/// The events of a Postgres instance by index, and what is to be done with those of each; `engine` tells whether a tenant's
/// search instance can be reached.
pub(super) fn groups(
    events: Vec<EventRow>,
    snapshot: &Snapshot,
    cell: &InstanceName,
    engine: impl Fn(&TenantEntry) -> bool,
) -> Vec<Group> {
    let mut groups: BTreeMap<String, Vec<EventRow>> = BTreeMap::new();
    for event in events {
        let key = format!("{} {} {}", event.role, event.app, event.doc_type);
        groups.entry(key).or_default().push(event);
    }
    groups
        .into_iter()
        .map(|(key, events)| Group { fate: fate(&events[0], snapshot, cell, &engine), key, events })
        .collect()
}

fn fate(
    event: &EventRow,
    snapshot: &Snapshot,
    cell: &InstanceName,
    engine: impl Fn(&TenantEntry) -> bool,
) -> Fate {
    // Roles have the same name in every instance.
    let Some(tenant) = snapshot.by_role(&event.role).filter(|tenant| tenant.home.cell == *cell) else {
        return if event.age > UNKNOWN_TENANT_SECONDS { Fate::Unwanted } else { Fate::Wait };
    };
    let binding = tenant
        .search
        .iter()
        .find(|((app, doc_type), _)| app.as_str() == event.app && doc_type.as_str() == event.doc_type);
    match (binding, &tenant.availability) {
        (None, _) | (_, Availability::Retained) => Fate::Unwanted,
        (Some((_, SearchBinding { live: false, .. })), _) => Fate::Wait,
        (Some(_), _) if !engine(tenant) => Fate::Wait,
        (Some((_, binding)), _) => Fate::Index(Target {
            tenant: tenant.name.to_string(),
            app: event.app.clone(),
            doc_type: event.doc_type.clone(),
            index_uid: binding.index_uid.clone(),
        }),
    }
}

/// Of all that happened to a document only the last counts. A document's events get their ids under its row's lock, so the
/// greatest id is the last; its versions begin anew when a document is deleted and made again under its id.
pub(super) fn coalesce(events: Vec<EventRow>, doc_type: &DocType) -> Change {
    let mut newest: HashMap<String, (EventRow, Vec<EventId>)> = HashMap::new();
    for event in events {
        let id = (event.role.clone(), event.id);
        match newest.get_mut(&event.doc_id) {
            None => {
                newest.insert(event.doc_id.clone(), (event, vec![id]));
            }
            Some((known, ids)) => {
                ids.push(id);
                if event.id > known.id {
                    *known = event;
                }
            }
        }
    }
    let mut newest: Vec<_> = newest.into_values().collect();
    newest.sort_unstable_by_key(|(event, _)| event.id);
    let mut change = Change::default();
    for (event, ids) in newest {
        if event.operation == "Delete" {
            change.delete.push(indexed::key(&event.doc_id));
            change.deletions.extend(ids);
            continue;
        }
        let body = event.body.as_deref().and_then(|body| serde_json::from_str(body).ok());
        match body.and_then(|body| indexed::index(doc_type, &event.doc_id, body)) {
            Some(document) => change.put.push((document, ids)),
            None => change.unfit.extend(ids),
        }
    }
    change
}

#[cfg(test)]
mod tests;
