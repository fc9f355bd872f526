//! The provisioned state.

use std::collections::BTreeSet;

use tenantry_crds::names::AppName;
use tenantry_migrations::{logins::LoginShard, registry::StreamBindingRecord};

use super::{Around, Desired};
use crate::backend::postgres::{
    change::{RowChange, SearchKey, StreamRow, TenantRow},
    observe::Observed,
};

pub(super) fn changes(
    desired: &Desired,
    observed: &Observed,
    shard: LoginShard,
    around: &Around,
    held: &BTreeSet<AppName>,
) -> Vec<RowChange> {
    let mut changes = Vec::new();
    tenant(desired, observed, shard, around, &mut changes);
    hosts(desired, observed, &mut changes);
    apps(desired, observed, held, &mut changes);
    streams(desired, observed, &mut changes);
    searches(desired, observed, around, &mut changes);
    changes
}

fn tenant(
    desired: &Desired,
    observed: &Observed,
    shard: LoginShard,
    around: &Around,
    changes: &mut Vec<RowChange>,
) {
    let record = observed.record.as_ref();
    let row = TenantRow {
        suspended: desired.suspended,
        suspended_message: desired.suspended_message.clone(),
        shard,
        placement: desired.placement.clone(),
        quotas: desired.quotas.clone(),
        auth: desired.auth.clone(),
        cors: desired.cors.clone(),
        generation: desired.generation,
        // A tenant that is served stays so while Redis is down: documents do not need it.
        ready: around.streams_in_place || record.is_some_and(|record| record.ready),
    };
    let same = record.is_some_and(|record| {
        record.state == if row.suspended { "Suspended" } else { "Active" }
            && record.suspended_message == row.suspended_message
            && record.login_shard == row.shard.number()
            && record.placement == row.placement
            && record.quotas == row.quotas
            && record.auth == row.auth
            && record.cors == row.cors
            && record.generation == row.generation
            && record.ready == row.ready
    });
    if !same {
        changes.push(RowChange::PutTenant(row));
    }
}

fn hosts(desired: &Desired, observed: &Observed, changes: &mut Vec<RowChange>) {
    let have = observed.record.as_ref().map(|record| record.hosts.as_slice()).unwrap_or_default();
    changes.extend(desired.hosts.iter().filter(|host| !have.contains(host)).cloned().map(RowChange::AddHost));
    changes.extend(have.iter().filter(|h| !desired.hosts.contains(*h)).cloned().map(RowChange::RemoveHost));
}

/// An app of `held` stays at the version that it is served at.
fn apps(desired: &Desired, observed: &Observed, held: &BTreeSet<AppName>, changes: &mut Vec<RowChange>) {
    for app in desired.apps.iter().filter(|app| !held.contains(&app.name)) {
        let same = |row: &tenantry_migrations::registry::TenantAppRecord| {
            row.app == app.name.as_str() && row.version == app.version && row.state == "Installed"
        };
        if !observed.apps.iter().any(same) {
            changes.push(RowChange::InstallApp(app.name.clone(), app.version.clone()));
        }
    }
    for row in observed.apps.iter().filter(|row| row.state != "Removed") {
        if desired.apps.iter().all(|app| app.name.as_str() != row.app) {
            changes.push(RowChange::RemoveApp(row.app.clone()));
        }
    }
}

/// Bindings are never taken out while the tenant stands: as with tables, jobs of an app that was removed stay, and are
/// served again when it comes back. The rows are also the ledger of the keys that a deletion removes.
fn streams(desired: &Desired, observed: &Observed, changes: &mut Vec<RowChange>) {
    for row in &desired.streams {
        if !observed.streams.iter().any(|have| same_stream(have, row)) {
            changes.push(RowChange::PutStream(row.clone()));
        }
    }
}

fn same_stream(have: &StreamBindingRecord, want: &StreamRow) -> bool {
    have.app == want.app.as_str()
        && have.queue == want.queue.as_str()
        && have.class == want.class
        && have.max_attempts == want.max_attempts
        && have.lease_seconds == want.lease_seconds
        && have.max_length == want.max_length
}

/// Only intents, and stops: what the engine has is written once it has it. A live index keeps its old settings here until
/// the engine has the new ones, so searches go on.
fn searches(desired: &Desired, observed: &Observed, around: &Around, changes: &mut Vec<RowChange>) {
    for row in &desired.searches {
        let bound = observed.searches.iter().any(|have| have.index_uid == row.index.as_str());
        if !bound && around.absent_indexes.iter().any(|uid| uid == row.index.as_str()) {
            changes.push(RowChange::PutSearch(row.clone()));
        }
    }
    for have in observed.searches.iter().filter(|have| have.live) {
        if desired.searches.iter().all(|row| row.index.as_str() != have.index_uid) {
            changes.push(RowChange::StopSearch(SearchKey::of(have)));
        }
    }
}
