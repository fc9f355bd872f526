//! What has to change in Postgres so that what is there becomes what should be. Pure.
//!
//! Expand first: what the definition adds is made in one transaction. What has to look at rows that are there follows in
//! steps. An app is at its new version when both are done. What the definition does not name any more stays, made harmless
//! where it would refuse new rows, unless somebody acknowledged that it goes; then it goes last.

mod adoption;
mod columns;
pub mod connections;
mod drops;
mod expressions;
mod migrations;
mod rows;
mod tables;
#[cfg(test)]
mod tests;
mod work;

use tenantry_crds::{
    reason::Reason,
    v1alpha1::{TenantSpec, TenantState},
};
use tenantry_migrations::{
    logins::{self, LoginShard},
    mark::OwnershipMark,
};

pub use adoption::adoption;
pub use connections::Turn;

use self::work::Work;
use super::desired::Desired;
use crate::{
    backend::postgres::{
        change::{Changes, Identity, ObjectChange, RoleChange, RowChange},
        observe::{Observed, ObservedRole},
        step::Step,
    },
    error::Error,
};

/// What has to change, in this order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// In one transaction.
    pub changes: Changes,
    /// One by one after it, see [`Step`].
    pub steps: Vec<Step>,
    /// Something goes once every replica serves the new version.
    pub drops_follow: bool,
    /// What follows when all of it is done.
    pub turn: Turn,
}

impl Plan {
    /// Whether everything is in place.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.steps.is_empty() && !self.drops_follow && self.turn == Turn::Stay
    }
}

/// What is known beside Postgres when the plan is made.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// The streams are in place, so the tenant can be served.
    pub streams_in_place: bool,
    /// Wanted indexes that the engine was seen not to have: only for those an intent may be written.
    pub absent_indexes: Vec<String>,
    /// Tables that are known to hold no row; any other may hold some.
    pub empty_tables: Vec<String>,
    /// The tenant's own login is not let in with its password.
    pub own_door_closed: bool,
}

/// What has to change. Empty when everything is in place.
///
/// # Errors
/// [`Error::Blocked`], see [`refuse_foreign_objects`]; and when a change would lose data.
pub fn plan(
    desired: &Desired,
    observed: &Observed,
    shard: LoginShard,
    around: &Around,
) -> Result<Plan, Error> {
    refuse_foreign_objects(&desired.tenant, observed)?;
    refuse_taken_hosts(observed)?;
    let mut work = Work::after(schema(observed));
    tables::changes(desired, observed, around, &mut work);
    let migrations = migrations::changes(desired, observed, &mut work);
    work.refusal()?;
    work.put_off_renewals();
    let drops_follow = drops::changes(desired, observed, &mut work);
    let mut rows = rows::changes(desired, observed, shard, around, &work.held);
    rows.extend(migrations);
    let Work { objects, mut steps, .. } = work;
    steps.sort_by_key(Step::rank);
    let mut roles = roles(observed);
    let turn = connections::changes(desired, observed, around, &steps, (shard, &mut roles, &mut rows));
    if !objects.is_empty() && !provisioner_may_own(observed, shard) {
        roles.push(RoleChange::AllowProvisioner);
    }
    if observed.schema.is_none() {
        roles.push(RoleChange::CreateSchema);
    }
    // One that is at work is not there for long without a step.
    if observed.migrator.is_some() && steps.is_empty() {
        roles.push(RoleChange::DropMigrator);
    }
    Ok(Plan { changes: Changes { roles, objects, rows }, steps, drops_follow, turn })
}

/// Whether a standing tenant is suspended. Planned by itself, so that a tenant can be suspended whatever else about it is
/// wrong.
pub fn state(tenant: &TenantSpec, observed: &Observed) -> Option<RowChange> {
    let suspended = tenant.state == TenantState::Suspended;
    let record = observed.record.as_ref()?;
    let same = (record.state == "Suspended") == suspended
        && (!suspended || record.suspended_message == tenant.suspended_message);
    (!same).then(|| RowChange::PutState(suspended, tenant.suspended_message.clone()))
}

/// Refuses what bears the tenant's names and is not the tenant's.
///
/// # Errors
/// [`Error::Blocked`] with NameConflict, which says what was found.
pub fn refuse_foreign_objects(tenant: &Identity, observed: &Observed) -> Result<(), Error> {
    if let Some(record) = &observed.record
        && record.uid != tenant.uid
    {
        return Err(conflict(&format!(
            "tenant {} in the registry {}",
            record.name,
            other_owner(OwnershipMark { uid: record.uid, retained: record.state == "Retained" })
        )));
    }
    if let Some(schema) = &observed.schema {
        refuse_foreign(tenant, &format!("schema {}", tenant.schema), schema.mark())?;
        if schema.owner != tenant.owner.as_str() {
            return Err(conflict(&format!(
                "schema {} is owned by role {} instead of {}",
                tenant.schema, schema.owner, tenant.owner
            )));
        }
    }
    refuse_foreign_role(tenant, tenant.owner.as_str(), observed.owner.as_ref())?;
    refuse_foreign_role(tenant, tenant.migrator.as_str(), observed.migrator.as_ref())?;
    let traffic = observed.traffic.as_ref().map(|traffic| &traffic.role);
    refuse_foreign_role(tenant, tenant.traffic.as_str(), traffic)?;
    refuse_foreign_role(tenant, tenant.role.as_str(), observed.role.as_ref())
}

fn refuse_taken_hosts(observed: &Observed) -> Result<(), Error> {
    if let Some(taken) = observed.taken_hosts.first() {
        return Err(host_conflict(&taken.host, &taken.tenant));
    }
    Ok(())
}

/// A host of the tenant is another one's.
pub fn host_conflict(host: &str, owner: &str) -> Error {
    Error::blocked(
        Reason::HostConflict,
        format!("host {host} belongs to tenant {owner}; remove it from spec.hosts of one of the two"),
    )
}

fn refuse_foreign_role(tenant: &Identity, name: &str, role: Option<&ObservedRole>) -> Result<(), Error> {
    let Some(role) = role else { return Ok(()) };
    refuse_foreign(tenant, &format!("role {name}"), role.mark())?;
    match role.provisioner() {
        Some(_) => Ok(()),
        None => Err(conflict(&format!("role {name} bears our mark, but no provisioner administers it"))),
    }
}

fn refuse_foreign(tenant: &Identity, what: &str, mark: Option<OwnershipMark>) -> Result<(), Error> {
    match mark {
        Some(mark) if mark.uid == tenant.uid => Ok(()),
        Some(mark) => Err(conflict(&format!("{what} {}", other_owner(mark)))),
        None => Err(conflict(&format!(
            "{what} exists and is not Tenantry's; rename or drop it, or use another name"
        ))),
    }
}

fn other_owner(mark: OwnershipMark) -> String {
    if mark.retained {
        format!(
            "holds the retained data of a deleted Tenant (uid {}); set spec.adoptRetained to true to take it over, or use \
             another name",
            mark.uid
        )
    } else {
        format!("belongs to another Tenant (uid {})", mark.uid)
    }
}

fn conflict(message: &str) -> Error {
    Error::blocked(Reason::NameConflict, message)
}

fn roles(observed: &Observed) -> Vec<RoleChange> {
    let mut changes = Vec::new();
    if observed.owner.is_none() {
        changes.push(RoleChange::CreateOwner);
    }
    let role = observed.role.as_ref();
    if role.is_none() {
        changes.push(RoleChange::CreateRole);
    }
    if role.is_none_or(|role| !role.groups.iter().any(|group| group == logins::TENANTS)) {
        changes.push(RoleChange::OpenJournals);
    }
    changes
}

pub(super) fn provisioner_may_own(observed: &Observed, shard: LoginShard) -> bool {
    observed.owner.as_ref().is_some_and(|owner| owner.lets_in(shard.provisioner().as_str()))
}

fn schema(observed: &Observed) -> Vec<ObjectChange> {
    let schema = observed.schema.as_ref();
    let mut changes = Vec::new();
    if schema.is_none() {
        changes.push(ObjectChange::MarkSchema { retained: false });
    }
    if schema.is_none_or(|schema| !schema.granted) {
        changes.push(ObjectChange::GrantSchema);
    }
    if schema.is_none_or(|schema| !schema.default_table_grants) {
        changes.push(ObjectChange::DefaultTableGrants);
    }
    if schema.is_none_or(|schema| !schema.default_sequence_grants) {
        changes.push(ObjectChange::DefaultSequenceGrants);
    }
    changes
}
