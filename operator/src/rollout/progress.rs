//! What people read about a rollout. Pure.

use tenantry_crds::v1alpha1::RolloutStage;

use super::member::Failure;
use crate::catalog::Version;

/// How far a rollout is, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The version that tenants are to reach.
    pub version: Version,
    /// How far it is.
    pub stage: RolloutStage,
    /// Tenants that are at it.
    pub updated: usize,
    /// Tenants that are or will be at it.
    pub total: usize,
    /// Tenants that are told to change and have neither done so nor failed.
    pub in_flight: usize,
    /// Tenants that another of their apps holds up.
    pub waiting: usize,
    /// Tenants that keep another version: pinned, or with the annotation `tenantry.dev/paused`.
    pub aside: usize,
    /// Tenants that did not reach it, by name.
    pub failed: Vec<(String, Failure)>,
}

/// Failures in the status; the rest is a number.
const FAILURES: usize = 10;
/// Of a failure's message in the status; all of it is in the status of the tenant.
const MESSAGE_MAX_BYTES: usize = 300;
/// Names in a message.
const SAMPLE: usize = 3;

impl Progress {
    /// `12/100`, for `kubectl get`.
    pub fn fraction(&self) -> String {
        format!("{}/{}", self.updated, self.total)
    }

    /// The failures that the status has room for.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.failed.iter().take(FAILURES).map(|(tenant, failure)| {
            let message = &failure.message;
            let cut = &message[..message.floor_char_boundary(MESSAGE_MAX_BYTES)];
            (tenant.as_str(), failure.reason.as_str(), cut)
        })
    }

    /// The message of the App's Ready.
    pub fn message(&self) -> String {
        let Self { version, updated, total, .. } = self;
        let numbers =
            format!("{updated} of {total} {} at it", if *total == 1 { "tenant is" } else { "tenants are" });
        let mut text = match self.stage {
            RolloutStage::Complete => format!("{version} is published, and {numbers}"),
            RolloutStage::Canary => format!("{version} goes to the canary tenants; {numbers}"),
            RolloutStage::Waves => format!("{version} goes to the tenants; {numbers}"),
            RolloutStage::Paused => {
                format!("the rollout of {version} is paused with {numbers}: {}", self.failures_in_short())
            }
        };
        for (number, what) in
            [(self.waiting, "waiting for another of their apps"), (self.aside, "pinned or paused")]
        {
            if number > 0 {
                text.push_str(&format!("; {number} {what}"));
            }
        }
        text
    }

    fn failures_in_short(&self) -> String {
        let named: Vec<String> = self
            .failures()
            .take(SAMPLE)
            .map(|(tenant, reason, message)| format!("{tenant} failed with {reason} ({message})"))
            .collect();
        let more = self.failed.len().saturating_sub(SAMPLE);
        let more = if more > 0 { format!("; and {more} more in status.rollout") } else { String::new() };
        format!("{}{more}. Solve it there, pin the tenant, or publish another version", named.join("; "))
    }
}
