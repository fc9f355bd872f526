//! What of drift Prometheus sees.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::finding::Finding;

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
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            repaired: IntCounterVec::new(
                Opts::new(
                    "tenantry_drift_total",
                    "What was lost or changed behind the operator's back and was put right",
                ),
                &["backend", "kind"],
            )?,
            scans: IntCounterVec::new(
                Opts::new("tenantry_drift_scans_total", "Looks at all tenants at rest, by their result"),
                &["result"],
            )?,
            drifted: IntGauge::new(
                "tenantry_drifted_tenants",
                "Tenants whose drift is found and not repaired yet",
            )?,
            caught_up: IntGauge::new(
                "tenantry_caught_up",
                "1 once everything that changed before the operator led was seen to",
            )?,
        };
        registry.register(Box::new(metrics.repaired.clone()))?;
        registry.register(Box::new(metrics.scans.clone()))?;
        registry.register(Box::new(metrics.drifted.clone()))?;
        registry.register(Box::new(metrics.caught_up.clone()))?;
        Ok(metrics)
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
