//! What Prometheus sees. No label ever holds a tenant's name: 10,000 tenants would be 10,000 series.

use std::time::Duration;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, histogram_opts,
    process_collector::ProcessCollector,
};

use crate::drift::DriftMetrics;

/// The operator's metrics. Cheap to clone: all clones count into the same series.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_time: HistogramVec,
    time_to_ready: HistogramVec,
    backend_calls: IntCounterVec,
    /// Drift.
    pub drift: DriftMetrics,
    /// 1 while this process leads.
    pub leader: IntGauge,
    /// The epoch that this process leads in.
    pub leader_epoch: IntGauge,
}

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// When two have the same name, which is a fault of ours.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let seconds = |name: &str, help: &str, buckets: &[f64]| -> HistogramOpts {
            histogram_opts!(name, help, buckets.to_vec())
        };
        let metrics = Self {
            reconciles: IntCounterVec::new(
                Opts::new("controller_runtime_reconcile_total", "Passes, by their result"),
                &["controller", "result"],
            )?,
            reconcile_time: HistogramVec::new(
                seconds(
                    "controller_runtime_reconcile_time_seconds",
                    "Duration of a pass",
                    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
                ),
                &["controller"],
            )?,
            time_to_ready: HistogramVec::new(
                seconds(
                    "tenantry_time_to_ready_seconds",
                    "From the creation of an object to its first Ready, in whole seconds of the API server's clock",
                    &[1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0],
                ),
                &["controller"],
            )?,
            backend_calls: IntCounterVec::new(
                Opts::new("tenantry_backend_calls_total", "Calls to backends"),
                &["backend", "op", "result"],
            )?,
            drift: DriftMetrics::new(&registry)?,
            leader: IntGauge::new("tenantry_leader", "1 while this process leads")?,
            leader_epoch: IntGauge::new("tenantry_leader_epoch", "The epoch that this process leads in")?,
            registry,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.reconcile_time.clone()))?;
        registry.register(Box::new(metrics.time_to_ready.clone()))?;
        registry.register(Box::new(metrics.backend_calls.clone()))?;
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.leader_epoch.clone()))?;
        Ok(metrics)
    }

    /// What `/metrics` shows.
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// A pass of `controller` ended with `result` (`success`, `pending`, or the class of its error).
    pub fn reconciled(&self, controller: &str, result: &str, took: Duration) {
        self.reconciles.with_label_values(&[controller, result]).inc();
        self.reconcile_time.with_label_values(&[controller]).observe(took.as_secs_f64());
    }

    /// An object became Ready for the first time, this long after its creation.
    pub fn became_ready(&self, controller: &str, after: Duration) {
        self.time_to_ready.with_label_values(&[controller]).observe(after.as_secs_f64());
    }

    /// A call to a backend (`postgres`, `redis`, `search`) ended.
    pub fn backend_call(&self, backend: &str, op: &str, ok: bool) {
        self.backend_calls.with_label_values(&[backend, op, if ok { "ok" } else { "error" }]).inc();
    }
}
