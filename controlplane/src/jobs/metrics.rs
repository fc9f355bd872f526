//! What happened to jobs. Without tenant labels: their number has no bound.

use prometheus::{IntCounterVec, Opts, Registry};

/// Counts of what happened to jobs.
#[derive(Debug, Clone)]
pub struct JobMetrics {
    events: IntCounterVec,
}

impl JobMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let events = IntCounterVec::new(
            Opts::new("tenantry_jobs_total", "What happened to jobs, by event"),
            &["event"],
        )?;
        registry.register(Box::new(events.clone()))?;
        Ok(Self { events })
    }

    pub(super) fn count(&self, event: &'static str, times: usize) {
        if times > 0 {
            self.events.with_label_values(&[event]).inc_by(times as u64);
        }
    }
}
