//! What a pass says of each backend.

use tenantry_crds::{
    conditions::{ConditionType, Finding, Truth},
    reason::Reason,
    v1alpha1::{Tenant, TenantConnections, TenantStatus},
};

use super::{desired::Desired, plan::connections::Cause, status};
use crate::{
    backend::postgres::{change::Changes, observe::Observed},
    context::Context,
    driver::Pass,
    error::Error,
};

/// What a pass leaves for later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UnderWay {
    #[default]
    Nothing,
    /// Steps, for people.
    Steps(String),
    /// What goes once the new version is served everywhere.
    Drops,
}

/// What Postgres has of the tenant, or what is still under way there.
pub fn database(
    pass: &mut Pass<TenantStatus>,
    desired: &Desired,
    changes: &Changes,
    observed: &Observed,
    under_way: &UnderWay,
) {
    pass.status.schema = Some(desired.tenant.schema.as_str().to_owned());
    status::installed(&mut pass.status, desired, changes, observed);
    if let UnderWay::Steps(what) = under_way {
        let message = format!("under way: {what}; the tenant is served at the version before");
        pass.find(Finding::new(ConditionType::DatabaseReady, Truth::False, Reason::WorkPending, message));
        return;
    }
    let message = format!("schema {} with {}", desired.tenant.schema, tables(desired));
    pass.holds(ConditionType::DatabaseReady, Reason::Succeeded, message);
}

/// Why the tenant has connections of its own; nothing of one that shares.
pub fn connections(pass: &mut Pass<TenantStatus>, causes: &[Cause]) {
    if let Some(placement) = &mut pass.status.placement {
        placement.connections = (!causes.is_empty()).then_some(TenantConnections::Dedicated);
    }
    let kind = ConditionType::DedicatedConnections;
    match causes.first() {
        Some(first) => pass.holds(kind, first.reason(), told(causes)),
        None => pass.forget(kind),
    }
}

/// An Event once tells of what is in the schema and not declared.
pub fn foreign_objects(object: &Tenant, ctx: &Context, causes: &[Cause]) {
    let is_foreign = |cause: &&Cause| matches!(cause, Cause::Foreign(_));
    let Some(foreign) = causes.iter().find(is_foreign).map(Cause::message) else { return };
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    let mut conditions = conditions.filter(|c| c.type_ == ConditionType::DedicatedConnections.as_str());
    if !conditions.any(|condition| condition.message.contains(&foreign)) {
        ctx.events.found_foreign(object, &foreign);
    }
}

fn told(causes: &[Cause]) -> String {
    causes.iter().map(Cause::message).collect::<Vec<_>>().join("; ")
}

/// The queues.
///
/// # Errors
/// Those of `outcome`.
pub fn streams(
    pass: &mut Pass<TenantStatus>,
    desired: &Desired,
    outcome: Result<(), Error>,
) -> Result<(), Error> {
    outcome.map_err(|error| pass.fails(ConditionType::StreamsReady, error))?;
    match desired.streams.len() {
        0 => pass.holds(ConditionType::StreamsReady, Reason::NotRequired, "no app has a queue"),
        number => pass.holds(
            ConditionType::StreamsReady,
            Reason::Succeeded,
            format!("{} in place", status::count(number, "queue", "queues")),
        ),
    }
    Ok(())
}

/// The indexes; those that are not ready yet.
///
/// # Errors
/// Those of `outcome`.
pub fn searches(
    pass: &mut Pass<TenantStatus>,
    desired: &Desired,
    outcome: Result<Vec<String>, Error>,
) -> Result<Vec<String>, Error> {
    let pending = outcome.map_err(|error| pass.fails(ConditionType::SearchReady, error))?;
    let finding = |truth, reason, message| Finding::new(ConditionType::SearchReady, truth, reason, message);
    let number = desired.searches.len();
    pass.find(if !pending.is_empty() {
        let message = format!("the search engine is still at work on {}", pending.join(", "));
        finding(Truth::False, Reason::TaskPending, message)
    } else if number == 0 {
        finding(Truth::True, Reason::NotRequired, "no SearchIndex selects this tenant".to_owned())
    } else {
        let message = format!("{} in place", status::count(number, "index", "indexes"));
        finding(Truth::True, Reason::Succeeded, message)
    });
    Ok(pending)
}

/// How many there are, for people.
pub fn tables(desired: &Desired) -> String {
    status::count(desired.tables().count(), "table", "tables")
}
