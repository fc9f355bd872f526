//! What the sealer did.

use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};
use tenantry_crds::names::InstanceName;

/// What the sealers did, by Postgres instance.
#[derive(Debug, Clone)]
pub struct SealMetrics {
    rows: IntCounterVec,
    waiting: GaugeVec,
    broken: IntCounterVec,
}

impl SealMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name, help| IntCounterVec::new(Opts::new(name, help), &["instance"]);
        let rows = counter("tenantry_audit_sealed_rows_total", "Audit rows that were sealed")?;
        let broken = counter(
            "tenantry_audit_broken_total",
            "Times that a tenant's rows were not sealed because the head of its chain is forged",
        )?;
        let waiting =
            Opts::new("tenantry_audit_unsealed", "Ids between the last row and the last one that is sealed");
        let waiting = GaugeVec::new(waiting, &["instance"])?;
        registry.register(Box::new(rows.clone()))?;
        registry.register(Box::new(broken.clone()))?;
        registry.register(Box::new(waiting.clone()))?;
        Ok(Self { rows, waiting, broken })
    }

    pub(super) fn sealed(&self, cell: &InstanceName, rows: usize) {
        self.rows.with_label_values(&[cell.as_str()]).inc_by(rows as u64);
    }

    pub(super) fn waiting(&self, cell: &InstanceName, ids: i64) {
        self.waiting.with_label_values(&[cell.as_str()]).set(ids as f64);
    }

    pub(super) fn broken(&self, cell: &InstanceName) {
        self.broken.with_label_values(&[cell.as_str()]).inc();
    }
}
