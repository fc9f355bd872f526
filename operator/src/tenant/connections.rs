//! By which login a tenant is served: the steps after which it shares connections again, and the end of its own login.
//!
//! The way to connections of its own is part of the transaction before code becomes possible; see `Cell::shut_shared`.

use std::time::Duration;

use tenantry_migrations::{logins::LoginShard, registry::Connections};

use super::{
    desired::Desired,
    plan::{self, Turn, connections::Cause},
};
use crate::{
    backend::postgres::{
        Cell,
        change::{Changes, Identity, RoleChange, RowChange},
        observe::{self, Observed},
    },
    context::Context,
    error::Error,
    killpoint::killpoint,
};

/// By then no replica asks by the own login of a tenant that shares connections again; see `forgotten` of `observe.sql`.
const OWN_LOGIN_FORGOTTEN: Duration = Duration::from_millis(2_500);

/// A login that its tenant's code can change is looked at this often, and so is whether the tenant can share connections again.
const OWN_LOGIN_LOOK: Duration = Duration::from_secs(300);

/// When to look at a tenant's connections again, while they are not the shared ones.
pub(super) fn look_again(causes: &[Cause], observed: &Observed, turn: Turn) -> Option<Duration> {
    match (causes.is_empty(), &observed.traffic) {
        (false, _) => Some(OWN_LOGIN_LOOK),
        (true, Some(_)) if turn != Turn::Retire => Some(OWN_LOGIN_FORGOTTEN),
        (true, _) => None,
    }
}

/// Nobody is in as the own login of a suspended tenant, whatever else about the tenant is wrong.
pub(super) async fn close(cell: &Cell, tenant: &Identity, observed: &mut Observed) -> Result<(), Error> {
    let shard = observed.shard();
    let (Some(traffic), Some(shard)) = (observed.traffic.as_mut().filter(|traffic| traffic.opens), shard)
    else {
        return Ok(());
    };
    for change in [RoleChange::CloseTraffic, RoleChange::EndTraffic] {
        let changes = Changes { roles: vec![change], ..Changes::default() };
        killpoint!("connections.suspend", cell.apply(shard, tenant, &changes).await)?;
    }
    traffic.opens = false;
    Ok(())
}

/// Lets a tenant that holds nothing of its own any more share connections again, and then takes its own login away. What cannot
/// be done now is so at the next look: the tenant is served all the while.
pub(super) async fn turn(
    ctx: &Context,
    cell: &Cell,
    desired: &Desired,
    shard: LoginShard,
    turn: Turn,
) -> Result<(), Error> {
    let tenant = &desired.tenant;
    let roles = |roles: Vec<RoleChange>| Changes { roles, ..Changes::default() };
    match turn {
        Turn::Stay => Ok(()),
        Turn::Share => {
            if !cell.code_has_ended(tenant).await? {
                return Ok(());
            }
            // What ran until now may have left something that the look before did not see.
            let hosts: Vec<String> = desired.hosts.iter().cloned().collect();
            let again = observe::observe(cell.database(), tenant, &hosts).await?;
            if !plan::connections::causes(desired, &again, &[]).is_empty() {
                ctx.lanes.tenants.wake(tenant.name.as_str());
                return Ok(());
            }
            let rows = vec![RowChange::PutConnections(Connections::Shared)];
            let share = Changes { rows, ..roles(vec![RoleChange::AllowTraffic(shard)]) };
            killpoint!("connections.share", cell.apply(shard, tenant, &share).await)
        }
        Turn::Retire => {
            // After the first nobody comes in any more, so the second meets all who are.
            killpoint!(
                "connections.close",
                cell.apply(shard, tenant, &roles(vec![RoleChange::CloseTraffic])).await
            )?;
            killpoint!(
                "connections.retire",
                cell.apply(shard, tenant, &roles(vec![RoleChange::DropTraffic])).await
            )
        }
    }
}
