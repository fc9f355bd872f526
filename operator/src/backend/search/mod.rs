//! The search engine, Meilisearch.
//!
//! - [`Search`]: an instance: its engine and the tasks it works on
//! - [`Engine`]: the routes that are used
//! - [`SearchKey`]: the keys of direct access
//! - [`Tasks`]: the one place that waits for the engine's tasks; no pass ever does
//! - [`Indexes`]: what is known of the engine's indexes, for the drift scan

mod engine;
mod indexes;
mod keys;
mod tasks;

pub use engine::{Engine, IndexSettings, TaskOutcome};
pub use indexes::{Fault, Indexes, WantedIndex};
pub use keys::SearchKey;
pub use tasks::Tasks;

/// A search instance. Task numbers and index names are its own.
#[derive(Debug)]
pub struct Search {
    /// The routes.
    pub engine: Engine,
    /// Tasks that tenants wait for.
    pub tasks: Tasks,
    /// What the drift scan knows.
    pub indexes: Indexes,
}

impl Search {
    /// An instance that no tenant waits for yet.
    pub fn new(engine: Engine) -> Self {
        Self { engine, tasks: Tasks::default(), indexes: Indexes::default() }
    }
}
