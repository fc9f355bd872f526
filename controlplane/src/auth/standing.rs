//! Whether what was verified holds still.

use std::sync::Arc;

use super::{
    caller::Caller,
    changes::{Change, Subject},
    token::{Refused, Verified},
};
use crate::{error::ApiError, registry::TenantEntry};

/// What a token says now.
#[derive(Debug)]
pub(super) enum Standing {
    /// What was verified.
    Same,
    /// The same caller with other rights.
    Changed(Verified),
}

/// Holds what was verified of a token against what happened since.
///
/// # Errors
/// When it holds no more, or nobody could read yet what happened.
pub(super) fn of_token(tenant: &TenantEntry, verified: &Verified) -> Result<Standing, ApiError> {
    let (changes, proof) = (tenant.home.changes(), &verified.proof);
    if (proof.session.is_some() || proof.user.is_some()) && !changes.is_read() {
        return Err(ApiError::unavailable("the registry").retry_after(1));
    }
    let of = |subject| changes.of(tenant.role.as_str(), subject);
    let change = proof.user.and_then(|user| of(Subject::User(user)));
    // An old version that was disabled says nothing of a newer one that is not.
    let newer = |change: &Arc<Change>| proof.version.is_none_or(|version| change.version > version);
    let is_gone = |change: &Arc<Change>| !change.state.as_ref().is_some_and(|state| state.enabled);
    // Before the session, which ends with its user: that the user is gone says more.
    if change.as_ref().is_some_and(|change| is_gone(change) && newer(change)) {
        return Err(Refused::UserGone.into());
    }
    if proof.session.is_some_and(|session| of(Subject::Session(session)).is_some()) {
        return Err(Refused::SessionEnded.into());
    }
    let Some(change) = change else { return Ok(Standing::Same) };
    let Some(state) = change.state.as_ref().filter(|state| state.enabled) else { return Ok(Standing::Same) };
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

/// Whether nothing became of an API key and its user since `heard` changes were heard of. Else only the database knows.
pub(super) fn of_key(tenant: &TenantEntry, verified: &Verified, heard: u64) -> bool {
    let (changes, proof) = (tenant.home.changes(), &verified.proof);
    let subjects = [proof.key.map(Subject::ApiKey), proof.user.map(Subject::User)];
    let is_old =
        |subject| changes.of(tenant.role.as_str(), subject).is_none_or(|change| change.heard <= heard);
    changes.is_read() && subjects.into_iter().flatten().all(is_old)
}
