//! Where tenants live: which Postgres, Redis and search instance each has.
//!
//! - [`choice`]: the instance with the most free capacity. Pure
//! - [`residence`]: what of the manifest, the status and the registry decides. Pure
//! - [`Directory`]: who lives where, and who serves which host, over all instances
//! - [`mod@resolve`]: the instances of a tenant, for a pass

mod choice;
mod directory;
mod residence;
mod resolve;

pub use directory::{Backend, Directory};
pub use resolve::{resident, resolve};
