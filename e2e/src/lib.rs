//! The proving ground: the rig that runs the real stack without containers.

pub mod rig;
