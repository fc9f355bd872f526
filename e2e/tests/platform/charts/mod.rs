//! The charts: what they render, and that the programs can do their work with exactly the rights the charts give them.
//!
//! - `rendering`: lint, templates, the schema of the values
//! - `health`: what Argo CD and Flux make of a status
//! - `accounts`: installed with helm into the real API server, our programs run under the charts' own accounts

mod accounts;
mod health;
mod helm;
mod rendering;
