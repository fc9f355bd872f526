//! Queries, in the dialect of PostgREST. Pure: a query is read against the compiled document types, and whatever it names
//! becomes a place in them; all else that it holds becomes a parameter.
//!
//! - [`ListQuery`]: what was asked for
//! - [`Level`]: documents of one type as a query wants them, with what is embedded in them
//! - `select`: `select=id,title:name,meta->>city,customer(name)`
//! - [`Condition`], [`Filter`]: `field=op.value`, `or=(a.eq.1,b.gt.2)`
//! - `order`: `order=field.desc.nullslast,other`
//! - [`cursor`]: `after=`, sealed so that it only continues the list that it came from
//! - [`Sight`]: what the caller may know of

mod condition;
mod cursor;
mod filter;
#[cfg(test)]
mod fuzz;
mod level;
mod list;
mod order;
mod select;
mod sight;
mod subject;
mod text;
mod value;

pub use condition::Condition;
pub use cursor::{CursorKey, ListIdentity};
pub use filter::{Comparison, Filter, Quantifier, Syntax, Test, Words};
pub use level::{Embed, Level, Output};
pub use list::{Asked, ListQuery, MAX_LIMIT, Manner, Purpose};
pub use order::Order;
pub use sight::Sight;
pub use subject::{Kind, Subject};
