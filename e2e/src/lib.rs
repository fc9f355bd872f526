//! The proving ground.
//!
//! - [`rig`]: the real stack without containers
//! - [`demo`]: the story that `make demo` tells

pub mod demo;
pub mod rig;
