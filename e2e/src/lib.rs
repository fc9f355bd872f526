//! The proving ground.
//!
//! - [`rig`]: the real stack without containers
//! - [`bench`]: what `make bench` measures
//! - [`demo`]: the story that `make demo` tells

pub mod bench;
pub mod demo;
pub mod rig;
