//! Whether what was verified holds still.

use std::sync::Arc;

use super::{
    caller::Caller,
    changes::{Change, Subject},
    token::{Refused, Verified},
};
use crate::registry::TenantEntry;

/// What holds now.
#[derive(Debug)]
pub(super) enum Standing {
    /// What was verified.
    Same,
    /// The same caller with other rights.
    Changed(Verified),
    /// Nobody knows without a look into the database.
    Unknown,
}

/// Holds what was verified against what happened since.
///
/// # Errors
/// When it holds no more.
pub(super) fn of(tenant: &TenantEntry, verified: &Verified) -> Result<Standing, Refused> {
    let (changes, proof) = (tenant.home.changes(), &verified.proof);
    let of = |subject| changes.of(tenant.role.as_str(), subject);
    if proof.session.is_some_and(|session| of(Subject::Session(session)).is_some()) {
        return Err(Refused::SessionEnded);
    }
    let newer = |change: &Arc<Change>, than: Option<i64>| than.is_none_or(|version| change.version > version);
    if let Some(key) = proof.key {
        let key = of(Subject::ApiKey(key)).filter(|change| newer(change, proof.key_version));
        let user = proof.user.and_then(|user| of(Subject::User(user)));
        let user = user.filter(|change| newer(change, proof.version));
        return Ok(if key.is_some() || user.is_some() { Standing::Unknown } else { Standing::Same });
    }
    let Some(change) = proof.user.and_then(|user| of(Subject::User(user))) else { return Ok(Standing::Same) };
    let Some(state) = change.state.as_ref().filter(|state| state.enabled) else {
        // An old version that was disabled says nothing of a newer one that is not.
        return if newer(&change, proof.version) { Err(Refused::UserGone) } else { Ok(Standing::Same) };
    };
    match proof.version {
        Some(version) if change.version > version => {
            let roles = tenant.auth.effective_roles(state.roles.clone(), proof.second_factor);
            let caller = Caller::new(&verified.caller.user, &roles).with_claims(state.claims.clone());
            let mut now = Verified { caller: Arc::new(caller), ..verified.clone() };
            now.proof.version = Some(change.version);
            Ok(Standing::Changed(now))
        }
        // A token of somebody else's making says itself what its holder may do.
        _ => Ok(Standing::Same),
    }
}
