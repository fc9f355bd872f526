//! What became of tenants' connections and groups. Without tenant labels: their number has no bound.

use prometheus::{
    IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{AtomicI64, GenericGauge},
};

/// Counts of what became of tenants' connections and groups.
#[derive(Debug, Clone)]
pub struct DatabaseMetrics {
    connections: IntGaugeVec,
    pub(super) failed: IntCounter,
    pub(super) outlasted: IntCounter,
    pub(super) full: IntCounterVec,
    pub(super) redirected: IntCounterVec,
    pub(super) reopened: IntCounter,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Many groups at once.
    Lane,
    /// One request at a time.
    Slow,
}

/// Counts a connection while it is there.
#[derive(Debug)]
pub(super) struct Open(GenericGauge<AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl DatabaseMetrics {
    /// Metrics that nobody reads.
    ///
    /// # Errors
    /// Never: the names are fixed and fit.
    pub fn unregistered() -> prometheus::Result<Self> {
        Self::register(&Registry::new())
    }

    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            connections: IntGaugeVec::new(
                Opts::new("tenantry_database_connections", "Open connections of tenants' traffic"),
                &["class", "use"],
            )?,
            failed: IntCounter::new(
                "tenantry_database_connect_failures_total",
                "Connections of tenants' traffic that could not be opened",
            )?,
            outlasted: IntCounter::new(
                "tenantry_database_outlasted_total",
                "Requests that took longer than a lane had time for and went to a connection for slow statements",
            )?,
            full: IntCounterVec::new(
                Opts::new(
                    "tenantry_database_full_total",
                    "Requests refused because all connections were in use",
                ),
                &["kind"],
            )?,
            redirected: IntCounterVec::new(
                Opts::new(
                    "tenantry_database_redirected_total",
                    "Requests that one login did not serve, by the class tried next",
                ),
                &["to"],
            )?,
            reopened: IntCounter::new(
                "tenantry_database_lanes_reopened_total",
                "Lanes opened anew because their task ended unexpectedly",
            )?,
        };
        registry.register(Box::new(metrics.connections.clone()))?;
        registry.register(Box::new(metrics.failed.clone()))?;
        registry.register(Box::new(metrics.outlasted.clone()))?;
        registry.register(Box::new(metrics.full.clone()))?;
        registry.register(Box::new(metrics.redirected.clone()))?;
        registry.register(Box::new(metrics.reopened.clone()))?;
        Ok(metrics)
    }

    /// Counts a connection.
    pub(super) fn opened(&self, class: &'static str, purpose: Use) -> Open {
        let gauge: IntGauge = self.connections.with_label_values(&[class, purpose.label()]);
        gauge.inc();
        Open(gauge)
    }
}

impl Use {
    const fn label(self) -> &'static str {
        match self {
            Self::Lane => "lane",
            Self::Slow => "slow",
        }
    }
}
