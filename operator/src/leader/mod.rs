//! Who may change anything: a Lease decides, and an epoch in Postgres fences the one that lost it.

mod leadership;

pub use leadership::Leadership;
