//! What a pass tells about an App. Pure.

use std::time::Duration;

use tenantry_crds::{
    reason::Reason,
    v1alpha1::{RolloutFailure, RolloutStage, RolloutStatus},
};

use crate::{driver::Progress, error::Error, rollout};

/// The tenants that change wake the App, so this only bounds what a lost wake costs.
const ROLLOUT_RECHECK: Duration = Duration::from_secs(30);

/// How far a rollout is, for machines.
pub(super) fn rollout(progress: &rollout::Progress) -> RolloutStatus {
    let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
    RolloutStatus {
        version: progress.version.to_string(),
        stage: progress.stage,
        updated: number(progress.updated),
        total: number(progress.total),
        progress: progress.fraction(),
        failed: progress
            .failures()
            .map(|(tenant, reason, message)| RolloutFailure {
                tenant: tenant.to_owned(),
                reason: reason.to_owned(),
                message: message.to_owned(),
            })
            .collect(),
    }
}

/// What a rollout means for the App: it is Ready once every tenant has its version.
///
/// # Errors
/// [`Reason::RolloutPaused`] when somebody has to solve what failed.
pub(super) fn progress(rollout: Option<&rollout::Progress>) -> Result<Progress, Error> {
    let Some(rollout) = rollout else { return Ok(Progress::Ready("published".to_owned())) };
    match rollout.stage {
        RolloutStage::Complete => Ok(Progress::Ready(rollout.message())),
        RolloutStage::Paused => Err(Error::blocked(Reason::RolloutPaused, rollout.message())),
        RolloutStage::Canary | RolloutStage::Waves => Ok(Progress::Pending {
            reason: Reason::Progressing,
            message: rollout.message(),
            after: ROLLOUT_RECHECK,
        }),
    }
}
