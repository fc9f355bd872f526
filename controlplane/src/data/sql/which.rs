//! The documents that a write is for.

use super::{read::by_id, statement::Statement};
use crate::data::{id::DocumentId, model::DocModel};

/// The documents that a write is for.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The one with this id.
    Id(&'a DocumentId),
}

impl Which<'_> {
    /// ` WHERE` and the condition.
    pub(super) fn write(self, sql: &mut Statement, doc: &DocModel) {
        match self {
            Self::Id(id) => by_id(sql, doc, id),
        }
    }
}
