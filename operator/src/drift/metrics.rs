//! What of drift Prometheus sees.

use prometheus::{IntCounterVec, IntGauge};

use super::finding::Finding;
use crate::metrics::Families;

/// The metrics of the scan.
#[derive(Debug, Clone)]
pub struct DriftMetrics {
    repaired: IntCounterVec,
    scans: IntCounterVec,
    /// Tenants whose drift was found and is not repaired yet.
    pub drifted: IntGauge,
    /// 1 once everything that may have changed before the operator led was looked at and seen to.
    pub caught_up: IntGauge,
}

impl DriftMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(families: &mut Families) -> prometheus::Result<Self> {
        Ok(Self {
            repaired: families.counters(
                "tenantry_drift_total",
                "What was lost or changed behind the operator's back and was put right",
                &["backend", "kind"],
            )?,
            scans: families.counters(
                "tenantry_drift_scans_total",
                "Looks at all tenants at rest, by their result",
                &["result"],
            )?,
            drifted: families
                .gauge("tenantry_drifted_tenants", "Tenants whose drift is found and not repaired yet")?,
            caught_up: families.gauge(
                "tenantry_caught_up",
                "1 once everything that changed before the operator led was seen to",
            )?,
        })
    }

    /// `finding` was put right.
    pub fn repaired(&self, finding: &Finding) {
        self.repaired.with_label_values(&[finding.backend.as_str(), finding.kind]).inc();
    }

    /// A round ended.
    pub fn scanned(&self, complete: bool) {
        self.scans.with_label_values(&[if complete { "complete" } else { "incomplete" }]).inc();
    }
}
