//! SQL from document types: the one place of this program where it is made.
//!
//! Names come from compiled document types only; every value of a request is a parameter with an explicit cast. Tables are
//! qualified with the tenant's schema, columns are listed.
//!
//! - [`read`]: one document, a page of documents
//! - [`mod@write`]: a document with its event and its audit row, in one statement
//! - [`level`]: documents with what is embedded in them
//! - [`which`]: the documents that a write is for; [`answer`]: what it yields
//! - [`cascade`]: what a deletion leads to; [`mod@versions`]: what documents were before
//! - [`keys`]: answers that are kept
//! - [`mod@sealed`]: moves secrets to another key
//! - [`predicate`]: filters, row rules and cursors as conditions

mod answer;
mod cascade;
mod keys;
mod level;
mod predicate;
mod read;
pub mod sealed;
mod statement;
mod versions;
mod which;
mod write;

pub use answer::Answer;

pub use keys::{answers, claim_key};
pub use level::{Decimals, Style};
pub use read::{count, get, get_members, holds, list, look, plan};
pub use versions::{version, versions};
pub use which::Which;
pub use write::{
    Author, Conflict, Deletion, Kept, NewId, Then, Version, Write, delete, insert, restore, update,
};
