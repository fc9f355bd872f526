//! Program 2: serves tenant traffic from the provisioned state.

mod auth;
mod error;
#[cfg(test)]
mod fixture;
mod postgres;
mod registry;
mod state;

fn main() {}
