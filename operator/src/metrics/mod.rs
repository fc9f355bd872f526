//! What Prometheus sees, as `docs/reference/metrics.md` says it. No label ever holds a tenant's name: 10,000 tenants would be
//! 10,000 series.
//!
//! - [`Metrics`]: passes, backends, leadership, drift and rollouts
//! - [`Queues`]: what waits, in the terms of controller-runtime's workqueue
//! - `families`: making and registering

mod families;
mod queues;
mod rollouts;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use prometheus::{
    HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Registry, process_collector::ProcessCollector,
};

pub use self::{families::Families, queues::Queues, rollouts::RolloutGauges};
use crate::{drift::DriftMetrics, watchdog::WatchdogMetrics};

/// How a pass ended, in the words of controller-runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The goal is reached.
    Success,
    /// Work goes on elsewhere.
    RequeueAfter,
    /// It failed.
    Error,
}

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Objects that are new, changed or being deleted.
    Urgent,
    /// Resyncs, rollouts, repairs and retries.
    Background,
}

/// The operator's metrics. Cheap to clone: all clones count into the same series.
#[derive(Debug, Clone)]
pub struct Metrics {
    families: Families,
    reconciles: IntCounterVec,
    reconcile_errors: IntCounterVec,
    reconcile_time: HistogramVec,
    ends: IntCounterVec,
    slots: IntGaugeVec,
    workers: IntGaugeVec,
    time_to_ready: HistogramVec,
    backend_calls: IntCounterVec,
    backend_time: HistogramVec,
    /// Drift.
    pub drift: DriftMetrics,
    /// What waits for a pass.
    pub queue: Queues,
    /// Sessions that were ended.
    pub watchdog: WatchdogMetrics,
    /// How far rollouts are.
    pub rollouts: RolloutGauges,
    /// 1 while this process leads.
    pub leader: IntGauge,
    /// The epoch that this process leads in.
    pub leader_epoch: IntGauge,
}

const PASS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// When two have the same name, which is a fault of ours.
    pub fn new() -> prometheus::Result<Self> {
        let mut families = Families::default();
        let by_controller = &["controller"];
        let metrics = Self {
            reconciles: families.counters(
                "controller_runtime_reconcile_total",
                "Passes, by their result: success, requeue_after or error",
                &["controller", "result"],
            )?,
            reconcile_errors: families.counters(
                "controller_runtime_reconcile_errors_total",
                "Passes that failed",
                by_controller,
            )?,
            reconcile_time: families.histograms(
                "controller_runtime_reconcile_time_seconds",
                "Duration of a pass",
                by_controller,
                PASS,
            )?,
            ends: families.counters(
                "tenantry_reconcile_ends_total",
                "Passes, by how they ended: success, pending, paused, deleted, or the class of the error",
                &["controller", "end"],
            )?,
            slots: families.gauges(
                "controller_runtime_max_concurrent_reconciles",
                "Passes that may run at the same time",
                by_controller,
            )?,
            workers: families.gauges(
                "controller_runtime_active_workers",
                "Passes that run",
                by_controller,
            )?,
            time_to_ready: families.histograms(
                "tenantry_time_to_ready_seconds",
                "From the creation of an object to its first Ready, in whole seconds of the API server's clock",
                by_controller,
                &[1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0],
            )?,
            backend_calls: families.counters(
                "tenantry_backend_calls_total",
                "Calls to backends",
                &["backend", "op", "result"],
            )?,
            backend_time: families.histograms(
                "tenantry_backend_call_duration_seconds",
                "Duration of calls to backends",
                &["backend", "op"],
                PASS,
            )?,
            drift: DriftMetrics::new(&mut families)?,
            queue: Queues::new(&mut families)?,
            watchdog: WatchdogMetrics::new(&mut families)?,
            rollouts: RolloutGauges::new(&mut families)?,
            leader: families.gauge("tenantry_leader", "1 while this process leads")?,
            leader_epoch: families
                .gauge("tenantry_leader_epoch", "The highest epoch that this process leads in")?,
            families,
        };
        metrics.families.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// What `/metrics` shows.
    pub fn registry(&self) -> Registry {
        self.families.registry.clone()
    }

    /// A pass of `controller` ended with `end` (`success`, `pending`, or the class of its error).
    pub fn reconciled(&self, controller: &str, end: &str, outcome: Outcome, took: Duration) {
        let result = match outcome {
            Outcome::Success => "success",
            Outcome::RequeueAfter => "requeue_after",
            Outcome::Error => "error",
        };
        self.reconciles.with_label_values(&[controller, result]).inc();
        if outcome == Outcome::Error {
            self.reconcile_errors.with_label_values(&[controller]).inc();
        }
        self.ends.with_label_values(&[controller, end]).inc();
        self.reconcile_time.with_label_values(&[controller]).observe(took.as_secs_f64());
    }

    /// A controller has this many slots.
    pub fn slots(&self, controller: &str, slots: u16) {
        self.slots.with_label_values(&[controller]).set(slots.into());
    }

    /// A pass runs until this is dropped.
    pub fn working(&self, controller: &str) -> Working {
        let workers = self.workers.with_label_values(&[controller]);
        workers.inc();
        Working(workers)
    }

    /// An object became Ready for the first time, this long after its creation.
    pub fn became_ready(&self, controller: &str, after: Duration) {
        self.time_to_ready.with_label_values(&[controller]).observe(after.as_secs_f64());
    }

    /// A call to a backend (`postgres`, `redis`, `search`) ended.
    fn backend_call(&self, backend: &str, op: &str, ok: bool) {
        self.backend_calls.with_label_values(&[backend, op, if ok { "ok" } else { "error" }]).inc();
    }

    /// Counts a call to a backend and how long it takes.
    pub async fn call<T, E>(
        &self,
        backend: &str,
        op: &str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let started = Instant::now();
        let answer = call.await;
        self.backend_time.with_label_values(&[backend, op]).observe(started.elapsed().as_secs_f64());
        self.backend_call(backend, op, answer.is_ok());
        answer
    }
}

/// A pass that runs.
#[derive(Debug)]
pub struct Working(IntGauge);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.dec();
    }
}
