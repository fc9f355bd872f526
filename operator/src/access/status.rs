//! What a pass tells about direct access. Never a secret.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use tenantry_crds::{
    conditions::ConditionType,
    reason::Reason,
    v1alpha1::{AccessStatus, TenantStatus},
};

use super::{desired::Credential, plan};
use crate::{backend::postgres::access::AccessRecord, driver::Pass};

/// Credentials that are in place.
pub struct Standing<'a> {
    /// What was asked for.
    pub credential: &'a Credential,
    /// Who logs in.
    pub username: String,
    /// The registry's row.
    pub row: AccessRecord,
}

/// Says which credentials there are, an access at a time: its first backend stands for all. One that could not be seen to keeps
/// what was said of it.
pub fn tell(status: &mut TenantStatus, wanted: &[Credential], standing: &[Standing<'_>]) {
    let before = std::mem::take(&mut status.access);
    for credential in wanted {
        let name = credential.key.access.as_str();
        if status.access.iter().any(|told| told.name == name) {
            continue;
        }
        let found = standing.iter().find(|one| one.credential.key == credential.key).map(entry);
        status.access.extend(found.or_else(|| before.iter().find(|old| old.name == name).cloned()));
    }
}

fn entry(one: &Standing<'_>) -> AccessStatus {
    let row = &one.row;
    AccessStatus {
        name: row.access.clone(),
        username: one.username.clone(),
        rotated_at: whole(&row.rotated_at),
        next_rotation_at: plan::next_rotation(one.credential, row).as_ref().map(whole),
        previous_until: row.previous_until.as_ref().map(whole),
        last_handled_rotate: row.handled_rotate.clone(),
    }
}

/// The API server keeps whole seconds; anything else would be written again in each pass.
fn whole(time: &Time) -> Time {
    Time(Timestamp::from_second(time.0.as_second()).unwrap_or(time.0))
}

/// Everything asked for is in place. Where nothing is asked for, nothing is said.
pub fn report(pass: &mut Pass<TenantStatus>, accesses: usize) {
    if accesses > 0 {
        let message = crate::tenant::count(accesses, "access", "accesses");
        pass.holds(ConditionType::AccessReady, Reason::Succeeded, format!("{message} in place"));
    }
}
