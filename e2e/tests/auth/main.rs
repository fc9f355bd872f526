//! Sign-in from outside: passwords, sessions, second factors, API keys, other issuers, and the attacks on each.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod address;
mod attacks;
mod external;
mod factors;
mod keys;
mod lockout;
mod mailbox;
mod place;
mod replica;
mod roles;
mod rotation;
mod sessions;
mod supabase;
#[path = "../api/world.rs"]
#[allow(dead_code, reason = "shared with the tests of the API")]
mod world;
