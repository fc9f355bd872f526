//! What one tenant does reaches no other: code that an Owner or a migration plants, and whoever may run it later.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod bystander;
mod logins;
mod planted;
mod reach;
mod session;
mod switch;
