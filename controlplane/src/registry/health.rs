//! Whether the registries can be read, and whether the clock is right. One instance that cannot be read, or whose own clock is off, must
//! not take the tenants of the others away.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus::{GaugeVec, IntGaugeVec};
use tenantry_config::probes::Readiness;
use tenantry_crds::names::InstanceName;

use super::clock::Reading;

/// The part of readiness that says whether the registries were read: every one that could be, and at least one.
pub const REGISTRY_PART: &str = "registry";
/// The part of readiness that says whether any Postgres instance answers.
pub const DATABASE_PART: &str = "database";
/// The part of readiness that says whether the clock agrees with that of any Postgres instance.
pub const CLOCK_PART: &str = "clock";

/// What the followers of all instances know together.
#[derive(Debug, Clone)]
pub struct Health {
    readiness: Readiness,
    up: Option<IntGaugeVec>,
    clock: Option<Clock>,
    cells: Arc<Mutex<BTreeMap<InstanceName, State>>>,
}

/// How far the clock may be off, and where it is told.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Further off it is wrong.
    pub tolerance: Duration,
    /// Seconds that it is ahead of that of each instance.
    pub ahead: GaugeVec,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    tried: bool,
    read: bool,
    up: bool,
    /// What the instance's clock said the last time.
    clock: Option<Reading>,
}

impl Health {
    /// Reports on these Postgres instances; also to the gauge `up`, by backend and instance.
    pub fn new(
        readiness: Readiness,
        up: Option<IntGaugeVec>,
        cells: impl IntoIterator<Item = InstanceName>,
    ) -> Self {
        let cells = cells.into_iter().map(|cell| (cell, State::default())).collect();
        Self { readiness, up, clock: None, cells: Arc::new(Mutex::new(cells)) }
    }

    /// Reports on the clock, too.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The registry of `cell` was read.
    pub(super) fn read(&self, cell: &InstanceName) {
        self.now(cell, |was| State { tried: true, read: true, up: true, ..was });
    }

    /// The clock of `cell` was read.
    pub(super) fn clock(&self, cell: &InstanceName, reading: Reading) {
        let Some(clock) = &self.clock else { return };
        clock.ahead.with_label_values(&[cell.as_str()]).set(reading.ahead());
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry(cell.clone()).or_default().clock = Some(reading);
        let readings = || cells.values().filter_map(|cell| cell.clock);
        if readings().any(|reading| !reading.is_beyond(clock.tolerance)) {
            self.readiness.ready(CLOCK_PART);
        } else {
            let nearest = readings().map(Reading::ahead).min_by(|a, b| a.abs().total_cmp(&b.abs()));
            let off = format!("{:.1} seconds ahead of that of Postgres", nearest.unwrap_or_default());
            tracing::error!(instance = %cell, off, "the clock is wrong; tokens would be, too");
            self.readiness.not_ready(CLOCK_PART, off);
        }
    }

    /// `cell` does not answer.
    pub(super) fn lost(&self, cell: &InstanceName) {
        self.now(cell, |was| State { tried: true, up: false, ..was });
    }

    fn now(&self, cell: &InstanceName, change: impl Fn(State) -> State) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let state = cells.entry(cell.clone()).or_default();
        *state = change(*state);
        if let Some(up) = &self.up {
            up.with_label_values(&["postgres", cell.as_str()]).set(i64::from(state.up));
        }
        if cells.values().all(|cell| cell.tried) && cells.values().any(|cell| cell.read) {
            self.readiness.ready(REGISTRY_PART);
        }
        if cells.values().any(|cell| cell.up) {
            self.readiness.ready(DATABASE_PART);
        } else {
            self.readiness.not_ready(DATABASE_PART, "does not answer");
        }
    }
}
