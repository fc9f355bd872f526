//! The query of a list.
//!
//! - [`ListQuery`]: what was asked for, checked against the document type
//! - `filter`: `field=op.value`
//! - `order`: `order=field.desc,other`
//! - [`cursor`]: `after=`, sealed so that it only continues the list that it came from

mod cursor;
mod filter;
mod list;
mod order;
mod value;

pub use cursor::{CursorKey, ListIdentity};
pub use filter::{Comparison, Filter, Test};
pub use list::ListQuery;
pub(super) use list::select;
pub use order::Order;
