//! What waits for a pass, in the terms of controller-runtime's workqueue.

use std::time::Duration;

use kube::Resource;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::{Queue, families::Families};
use crate::driver::Lane;

/// The queues of all controllers.
#[derive(Debug, Clone)]
pub struct Queues {
    depth: IntGaugeVec,
    adds: IntCounterVec,
    retries: IntCounterVec,
    wait: HistogramVec,
}

const LABELS: &[&str] = &["name", "lane"];

impl Queues {
    pub(super) fn new(families: &mut Families) -> prometheus::Result<Self> {
        Ok(Self {
            depth: families.gauges("workqueue_depth", "Objects that wait for a pass", LABELS)?,
            adds: families.counters(
                "workqueue_adds_total",
                "Objects that began to wait for a pass",
                LABELS,
            )?,
            retries: families.counters(
                "workqueue_retries_total",
                "Passes over objects whose last one failed",
                LABELS,
            )?,
            wait: families.histograms(
                "workqueue_queue_duration_seconds",
                "From the moment that an object asks for a pass to its beginning",
                LABELS,
                &[0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0],
            )?,
        })
    }

    /// An object of `controller` waits from now on.
    pub fn added(&self, controller: &str, queue: Queue) {
        self.adds.with_label_values(&[controller, queue.as_str()]).inc();
    }

    /// A pass begins over an object that waited for so long.
    pub fn began(&self, controller: &str, queue: Queue, waited: Duration) {
        if queue == Queue::Background {
            self.added(controller, queue);
        }
        self.wait.with_label_values(&[controller, queue.as_str()]).observe(waited.as_secs_f64());
    }

    /// A pass begins over an object whose last one failed.
    pub fn retried(&self, controller: &str, queue: Queue) {
        self.retries.with_label_values(&[controller, queue.as_str()]).inc();
    }

    /// How many wait now.
    pub fn depth<K: Resource<DynamicType = ()> + Clone + 'static>(&self, controller: &str, lane: &Lane<K>) {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        for (queue, count) in [(Queue::Urgent, lane.noticed()), (Queue::Background, lane.waiting())] {
            self.depth.with_label_values(&[controller, queue.as_str()]).set(number(count));
        }
    }
}

impl Queue {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Background => "background",
        }
    }
}
