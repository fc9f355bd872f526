//! Drift: what was in place and is not any more, because someone or something else changed it.
//!
//! All tenants at rest are looked at in sets: one catalog query for each batch of them, one pipelined look at their streams,
//! one list of the search indexes. The question is the one that a pass asks (`operator/src/tenant/plan`), so nothing is drift that
//! a pass would not repair; a tenant that drifted is woken, and its ordinary pass repairs it. A scan writes nothing.
//!
//! - [`finding`]: what is lost, and what of it cannot be brought back
//! - `round`: one look at all tenants at rest; `batch`: at some of them; `memory`: what needs no second look
//! - `repairs`: from a finding to the Event; when the operator has caught up after its start
//! - [`mod@scan`]: round after round

mod batch;
pub mod finding;
mod memory;
mod metrics;
mod repairs;
mod round;
mod scan;

pub use metrics::DriftMetrics;
pub use scan::scan;
