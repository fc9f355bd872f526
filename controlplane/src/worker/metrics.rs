//! What happened to events. Without tenant labels: their number has no bound.

use prometheus::{Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use tenantry_crds::names::InstanceName;

/// Counts and times of the workers.
#[derive(Debug, Clone)]
pub(super) struct WorkMetrics {
    events: IntCounterVec,
    lag: GaugeVec,
    leader: GaugeVec,
    batch: Histogram,
    size: Histogram,
}

/// Counts and times of the worker of one Postgres instance.
#[derive(Debug, Clone)]
pub(super) struct CellMetrics {
    events: IntCounterVec,
    /// Seconds from the oldest event of the last batch to its reading; 0 when there was none.
    pub(super) lag: Gauge,
    /// Whether this process is the one that works.
    pub(super) leader: Gauge,
    /// Seconds that a batch took, the engine's work included.
    pub(super) batch: Histogram,
    /// Events in a batch.
    pub(super) size: Histogram,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The index has it.
    Indexed,
    /// No index wants it.
    Unwanted,
    /// The engine will not take the document; it is not in the index.
    Parked,
    /// It waits for its index.
    Held,
}

impl WorkMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let events = IntCounterVec::new(
            Opts::new("tenantry_outbox_events_total", "What became of events of the outbox"),
            &["result"],
        )?;
        let lag = Opts::new("tenantry_outbox_lag_seconds", "Age of the oldest event when it was taken");
        let lag = GaugeVec::new(lag, &["instance"])?;
        let leader = Opts::new("tenantry_outbox_leader", "Whether this process drains the outbox");
        let leader = GaugeVec::new(leader, &["instance"])?;
        let batch = Histogram::with_opts(
            HistogramOpts::new("tenantry_outbox_batch_seconds", "Time that a batch of events took")
                .buckets(vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0]),
        )?;
        let size = Histogram::with_opts(
            HistogramOpts::new("tenantry_outbox_batch_events", "Events in a batch")
                .buckets(vec![1.0, 10.0, 100.0, 500.0, 1000.0]),
        )?;
        registry.register(Box::new(events.clone()))?;
        registry.register(Box::new(lag.clone()))?;
        registry.register(Box::new(leader.clone()))?;
        registry.register(Box::new(batch.clone()))?;
        registry.register(Box::new(size.clone()))?;
        Ok(Self { events, lag, leader, batch, size })
    }

    /// Those of the worker of `cell`.
    pub(super) fn of(&self, cell: &InstanceName) -> CellMetrics {
        CellMetrics {
            events: self.events.clone(),
            lag: self.lag.with_label_values(&[cell.as_str()]),
            leader: self.leader.with_label_values(&[cell.as_str()]),
            batch: self.batch.clone(),
            size: self.size.clone(),
        }
    }
}

impl CellMetrics {
    pub(super) fn count(&self, event: Event, times: usize) {
        let result = match event {
            Event::Indexed => "indexed",
            Event::Unwanted => "unwanted",
            Event::Parked => "parked",
            Event::Held => "held",
        };
        self.events.with_label_values(&[result]).inc_by(times as u64);
    }
}
