//! Program 2: serves tenant traffic from the provisioned state.

mod auth;
mod error;
mod registry;
mod state;

fn main() {}
