//! The demo: one story, told while it happens. Every line is an assertion; the first that does not hold ends it.

mod client;
mod narrator;
mod story;

pub use client::Client;
pub use narrator::{Narrator, Unexpected};
pub use story::tell;
