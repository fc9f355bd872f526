//! What goes, and in which order. Pure.

use tenantry_migrations::{logins::LoginShard, mark::OwnershipMark};

use super::super::plan::provisioner_may_own;
use crate::backend::postgres::{
    change::{Changes, Identity, ObjectChange, RoleChange, RowChange, SearchKey},
    observe::{Observed, ObservedRole},
};

/// What happens to the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It stays and is marked.
    Retain,
    /// It goes once there is a snapshot of it.
    Snapshot,
    /// It goes.
    Delete,
}

/// What is to be done, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CleanupPlan {
    /// A transaction each: the tenant stops being served, its data goes or is marked.
    pub data: Vec<Changes>,
    /// A snapshot must be there before the plan goes on.
    pub export: bool,
    /// The journals are then purged of the tenant.
    pub purge: bool,
    /// Indexes to be removed.
    pub searches: Vec<SearchKey>,
    /// What the registry still has.
    pub last: Changes,
    /// No other object has the name, so what derives from it is ours to remove.
    pub owns_name: bool,
    /// The tenant's roles do not count for its logins any more.
    pub frees_roles: bool,
}

/// Each table takes about ten locks with its indexes and its TOAST table, and a transaction gets some thousands.
const TABLES_AT_ONCE: usize = 50;

/// What of `observed` is the tenant's, and how it ends.
pub fn plan(tenant: &Identity, policy: Policy, observed: &Observed) -> CleanupPlan {
    let ours = Ours::of(tenant, observed);
    let mut plan = CleanupPlan { owns_name: ours.name, ..CleanupPlan::default() };
    let Some(shard) = observed.shard() else { return plan };
    if ours.record {
        plan.searches = observed.searches.iter().map(SearchKey::of).collect();
    }
    match policy {
        Policy::Retain => {
            plan.data.extend(retain(&ours, observed, shard));
            plan.data.extend(own_login_goes(&ours));
        }
        Policy::Snapshot if ours.schema && observed.snapshot.is_none() => {
            plan.data.extend(quieten(&ours, observed, shard));
            plan.data.extend(own_login_goes(&ours));
            plan.export = true;
        }
        Policy::Snapshot | Policy::Delete => {
            plan.data = delete(&ours, observed, shard);
            plan.purge = ours.name && (ours.record || ours.role);
            plan.frees_roles = ours.owner || ours.role || ours.record;
            if ours.record {
                plan.last.rows.push(RowChange::RemoveTenant);
            }
            if observed.snapshot.is_some() {
                plan.last.rows.push(RowChange::ForgetSnapshot);
            }
        }
    }
    plan
}

/// What bears this very tenant's mark.
struct Ours {
    record: bool,
    schema: bool,
    owner: bool,
    role: bool,
    migrator: bool,
    traffic: bool,
    name: bool,
}

impl Ours {
    fn of(tenant: &Identity, observed: &Observed) -> Self {
        let ours = |mark: Option<OwnershipMark>| mark.is_some_and(|mark| mark.uid == tenant.uid);
        let role = |role: &Option<ObservedRole>| {
            role.as_ref().is_some_and(|role| ours(role.mark()) && role.provisioner().is_some())
        };
        let schema = observed.schema.as_ref();
        let traffic = observed.traffic.as_ref().map(|traffic| traffic.role.clone());
        let ours = Self {
            record: observed.record.as_ref().is_some_and(|record| record.uid == tenant.uid),
            schema: schema.is_some_and(|s| ours(s.mark()) && s.owner == tenant.owner.as_str()),
            owner: role(&observed.owner),
            role: role(&observed.role),
            migrator: role(&observed.migrator),
            traffic: role(&traffic),
            name: false,
        };
        let free = |ours: bool, found: bool| ours || !found;
        let name = free(ours.record, observed.record.is_some())
            && free(ours.schema, schema.is_some())
            && free(ours.owner, observed.owner.is_some())
            && free(ours.role, observed.role.is_some())
            && free(ours.migrator, observed.migrator.is_some())
            && free(ours.traffic, traffic.is_some());
        Self { name, ..ours }
    }
}

fn retain(ours: &Ours, observed: &Observed, shard: LoginShard) -> Option<Changes> {
    let mut changes = Changes::default();
    if ours.migrator {
        changes.roles.push(RoleChange::DropMigrator);
    }
    let marked = |mark: Option<OwnershipMark>| mark.is_some_and(|mark| mark.retained);
    if ours.role && observed.role.as_ref().is_some_and(|role| role.lets_in(shard.traffic().as_str())) {
        changes.roles.push(RoleChange::RefuseTraffic(shard));
    }
    let schema_marked = observed.schema.as_ref().is_some_and(|schema| marked(schema.mark()));
    let roles_marked =
        [&observed.owner, &observed.role].into_iter().flatten().all(|role| marked(role.mark()));
    if ours.owner && ours.role && !roles_marked {
        changes.roles.push(RoleChange::MarkRetained);
    }
    if ours.schema && !schema_marked {
        allow_provisioner(observed, shard, &mut changes);
        changes.objects.push(ObjectChange::MarkSchema { retained: true });
    }
    if ours.record && observed.record.as_ref().is_some_and(|record| record.state != "Retained") {
        changes.rows.push(RowChange::Retain);
        changes.rows.extend(observed.searches.iter().map(|have| RowChange::StopSearch(SearchKey::of(have))));
    }
    (!changes.is_empty()).then_some(changes)
}

/// Nobody writes from here on, so that the snapshot is all there ever was.
fn quieten(ours: &Ours, observed: &Observed, shard: LoginShard) -> Option<Changes> {
    let mut changes = Changes::default();
    if ours.role && observed.role.as_ref().is_some_and(|role| role.lets_in(shard.traffic().as_str())) {
        changes.roles.push(RoleChange::RefuseTraffic(shard));
    }
    // The one who reads the tables for the snapshot.
    allow_provisioner(observed, shard, &mut changes);
    if ours.record && observed.record.as_ref().is_some_and(|record| record.ready) {
        changes.rows.push(RowChange::StopServing);
    }
    (!changes.is_empty()).then_some(changes)
}

/// The tenant's own login, in two transactions: after the first nobody comes in any more, so the second meets all who are.
fn own_login_goes(ours: &Ours) -> Vec<Changes> {
    let ends = [RoleChange::CloseTraffic, RoleChange::DropTraffic].into_iter().filter(|_| ours.traffic);
    ends.map(|change| Changes { roles: vec![change], ..Changes::default() }).collect()
}

fn delete(ours: &Ours, observed: &Observed, shard: LoginShard) -> Vec<Changes> {
    let mut steps = Vec::new();
    // On its own, so that requests stop before the tables are asked for.
    if ours.record && observed.record.as_ref().is_some_and(|record| record.ready) {
        steps.push(Changes { rows: vec![RowChange::StopServing], ..Changes::default() });
    }
    steps.extend(own_login_goes(ours));
    if ours.migrator {
        steps.push(Changes { roles: vec![RoleChange::DropMigrator], ..Changes::default() });
    }
    let mut last = Changes::default();
    if ours.schema {
        let tables: Vec<String> = observed.tables.keys().cloned().collect();
        if tables.len() > TABLES_AT_ONCE {
            for (n, chunk) in tables.chunks(TABLES_AT_ONCE).enumerate() {
                let mut step = Changes::default();
                if n == 0 {
                    allow_provisioner(observed, shard, &mut step);
                }
                step.objects.push(ObjectChange::DropTables(chunk.to_vec()));
                steps.push(step);
            }
        } else {
            allow_provisioner(observed, shard, &mut last);
        }
        last.objects.push(ObjectChange::DropSchema);
    }
    // A role whose schema is somebody else's cannot go: it may be that schema's owner.
    let roles_go = (ours.owner || observed.owner.is_none()) && (ours.role || observed.role.is_none());
    if (ours.owner || ours.role) && roles_go && (ours.schema || observed.schema.is_none()) {
        last.roles.push(RoleChange::DropRoles);
    }
    if !last.is_empty() {
        steps.push(last);
    }
    steps
}

fn allow_provisioner(observed: &Observed, shard: LoginShard, changes: &mut Changes) {
    if !provisioner_may_own(observed, shard) {
        changes.roles.push(RoleChange::AllowProvisioner);
    }
}
