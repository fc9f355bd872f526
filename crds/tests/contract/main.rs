//! The contract from outside: what it accepts, what it names, and what stands in files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod definition;
mod names;
mod wire;
