//! Status as tools read it: every object, at every step of every test.
//!
//! - [`compute`]: what kstatus (and so `kubectl wait`, Argo CD and Flux) makes of an object
//! - [`violations`]: what a status may never say
//! - [`Observer`]: watches an API server and collects what was violated

mod observer;
mod rules;

pub use observer::Observer;
pub use rules::{Computed, compute, violations};
