//! The search engine, Meilisearch.
//!
//! - [`Search`]: an instance: its engine and the tasks it works on
//! - [`Engine`]: the routes that are used
//! - [`Tasks`]: the one place that waits for the engine's tasks; no pass ever does

mod engine;
mod tasks;

pub use engine::{Engine, IndexSettings, SettingsTask, TaskOutcome};
pub use tasks::Tasks;

/// A search instance. Task numbers and index names are its own.
#[derive(Debug)]
pub struct Search {
    /// The routes.
    pub engine: Engine,
    /// Tasks that tenants wait for.
    pub tasks: Tasks,
}

impl Search {
    /// An instance that no tenant waits for yet.
    pub fn new(engine: Engine) -> Self {
        Self { engine, tasks: Tasks::default() }
    }
}
