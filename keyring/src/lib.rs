//! Secrets at rest: values are sealed under keys that the database does not have.
//!
//! - [`Keyring`] seals, opens, and moves a value to another key; several keys are valid at a time, one of them seals
//! - [`Context`] says where a value belongs; it opens nowhere else
//! - [`sealed`] is the form in which a value is stored, and tells its key without any key
//! - [`KeyId`] names a key; [`Keyring::read`] takes the keys from the files of a directory
//!
//! A value gets a data key of its own, which is sealed under a key of the ring: an envelope. Each key that enters the cipher is
//! used for one message, so no nonce can ever be used twice, however many values there are.

mod aead;
mod context;
mod directory;
mod error;
mod key;
mod keyring;
pub mod sealed;

pub use context::Context;
pub use error::KeyringError;
pub use key::KeyId;
pub use keyring::Keyring;
pub use zeroize::Zeroizing;
