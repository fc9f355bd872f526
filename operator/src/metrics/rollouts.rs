//! How far rollouts are. Apps are few, so their names may be labels.

use prometheus::IntGaugeVec;
use tenantry_crds::v1alpha1::RolloutStage;

use super::families::Families;
use crate::rollout::Progress;

/// The rollouts of all apps.
#[derive(Debug, Clone)]
pub struct RolloutGauges {
    tenants: IntGaugeVec,
    paused: IntGaugeVec,
}

const STATES: [&str; 5] = ["updated", "queued", "waiting", "in_flight", "failed"];

impl RolloutGauges {
    pub(super) fn new(families: &mut Families) -> prometheus::Result<Self> {
        Ok(Self {
            tenants: families.gauges(
                "tenantry_rollout_tenants",
                "Tenants that take part in the rollout of an app, by where they are",
                &["app", "state"],
            )?,
            paused: families.gauges(
                "tenantry_rollout_paused",
                "1 while the rollout of an app waits for a person",
                &["app"],
            )?,
        })
    }

    /// The rollout of `app` is so far.
    pub fn show(&self, app: &str, progress: &Progress) {
        let Progress { updated, total, in_flight, waiting, failed, .. } = progress;
        let queued = total.saturating_sub(updated + in_flight + waiting + failed.len());
        let counts = [*updated, queued, *waiting, *in_flight, failed.len()];
        for (state, count) in STATES.iter().zip(counts) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.tenants.with_label_values(&[app, state]).set(count);
        }
        let paused = progress.stage == RolloutStage::Paused;
        self.paused.with_label_values(&[app]).set(paused.into());
    }

    /// `app` is gone.
    pub fn forget(&self, app: &str) {
        for state in STATES {
            // One that was never shown is not there.
            let _absent = self.tenants.remove_label_values(&[app, state]);
        }
        let _absent = self.paused.remove_label_values(&[app]);
    }
}
