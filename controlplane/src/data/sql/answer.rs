//! What a write yields.

use super::{statement::Statement, write::shown_columns};
use crate::data::model::DocModel;

/// What a write yields, after the common table expression `stored` and those that keep its journal.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// Each document with all columns that answers show.
    Documents,
    /// A row for each document.
    Marks,
}

impl Answer {
    /// Whether `stored` must have all columns that answers show.
    pub(super) fn needs_documents(self) -> bool {
        matches!(self, Self::Documents)
    }

    pub(super) fn write(self, sql: &mut Statement, doc: &DocModel) {
        match self {
            Self::Documents => sql.push(" SELECT ").columns(shown_columns(doc)).push(" FROM stored"),
            Self::Marks => sql.push(" SELECT 1 FROM stored"),
        };
    }
}
