//! Whether the registries can be read. One that cannot must not take the tenants of the others away.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::IntGaugeVec;
use tenantry_config::probes::Readiness;
use tenantry_crds::names::InstanceName;

/// The part of readiness that says whether the registries were read: every one that could be, and at least one.
pub const REGISTRY_PART: &str = "registry";
/// The part of readiness that says whether any Postgres instance answers.
pub const DATABASE_PART: &str = "database";

/// What the followers of all instances know together.
#[derive(Debug, Clone)]
pub struct Health {
    readiness: Readiness,
    up: Option<IntGaugeVec>,
    cells: Arc<Mutex<BTreeMap<InstanceName, State>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    tried: bool,
    read: bool,
    up: bool,
}

impl Health {
    /// Reports on these Postgres instances; also to the gauge `up`, by backend and instance.
    pub fn new(
        readiness: Readiness,
        up: Option<IntGaugeVec>,
        cells: impl IntoIterator<Item = InstanceName>,
    ) -> Self {
        let cells = cells.into_iter().map(|cell| (cell, State::default())).collect();
        Self { readiness, up, cells: Arc::new(Mutex::new(cells)) }
    }

    /// The registry of `cell` was read.
    pub(super) fn read(&self, cell: &InstanceName) {
        self.now(cell, |_| State { tried: true, read: true, up: true });
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
