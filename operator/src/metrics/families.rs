//! Makes metrics and registers them.

use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, core::Collector,
};

/// The registry, and what every metric in it is called.
#[derive(Debug, Clone, Default)]
pub struct Families {
    /// What `/metrics` shows.
    pub registry: Registry,
    /// Name and labels of each metric: a vector without series does not show what it would be.
    pub described: Vec<(String, Vec<String>)>,
}

impl Families {
    /// Counters, one for each value of the labels.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// Gauges, one for each value of the labels.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// One gauge.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn gauge(&mut self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.register(IntGauge::new(name, help)?)
    }

    /// Histograms, one for each value of the labels.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn histograms(
        &mut self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        self.register(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?)
    }

    fn register<C: Collector + Clone + 'static>(&mut self, collector: C) -> prometheus::Result<C> {
        let described = collector.desc().into_iter().map(|d| (d.fq_name.clone(), d.variable_labels.clone()));
        self.described.extend(described);
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}
