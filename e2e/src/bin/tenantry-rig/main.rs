//! `tenantry-rig`: the stack for people and scripts.
fn main() {}
