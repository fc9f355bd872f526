//! The search engine, Meilisearch.
//!
//! - [`Engine`]: the routes that are used
//! - [`Tasks`]: the one place that waits for the engine's tasks; no pass ever does

mod engine;
mod tasks;

pub use engine::{Engine, IndexSettings, TaskOutcome};
pub use tasks::Tasks;
