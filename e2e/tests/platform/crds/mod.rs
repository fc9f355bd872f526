//! The resource definitions in the real API server: what is accepted, what is refused, and what the refusal says.
//!
//! - `bounds`: every limit of the schemas, violated once each, found by walking the schemas themselves
//! - `rules`: every CEL rule, by table
//! - `serving`: defaults, columns, immutability, discovery

mod api;
mod bounds;
mod rules;
mod serving;
