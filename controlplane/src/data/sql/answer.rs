//! What a write yields.

use super::{
    level::{Levels, Style},
    statement::Statement,
    which::Which,
    write::shown_columns,
};
use crate::data::{model::DocModel, query::Level};

/// What a write yields, after the common table expression `stored` and those that keep its journal.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// Each document with all columns that answers show.
    Documents,
    /// Each document with these members.
    Members(&'a Level<'a>, Style),
    /// A row for each document.
    Marks,
    /// How many documents there were.
    Count,
}

impl Answer<'_> {
    /// Whether `stored` must have all columns that answers show.
    pub(super) fn needs_documents(self) -> bool {
        matches!(self, Self::Documents | Self::Members(..))
    }

    pub(super) fn write(self, sql: &mut Statement, doc: &DocModel) {
        match self {
            Self::Documents => {
                sql.push(" SELECT ").columns(shown_columns(doc)).push(" FROM stored");
            }
            Self::Members(level, style) => {
                sql.push(" SELECT ");
                Levels::new(style).members(sql, level);
                sql.push(" FROM stored AS ").push(Levels::OUTERMOST);
            }
            Self::Marks => {
                sql.push(" SELECT 1 FROM stored");
            }
            Self::Count => {
                sql.push(" SELECT count(*) FROM stored");
            }
        }
    }

    /// The same, after a write for `which`.
    pub(super) fn write_for(self, sql: &mut Statement, doc: &DocModel, which: Which<'_>) {
        self.write(sql, doc);
        let Which::Matching { most, .. } = which else { return };
        sql.push(if matches!(self, Self::Count) { " HAVING " } else { " WHERE " });
        sql.push("(SELECT 1 / (CASE WHEN count(*) <= ").bind(Some(&most.to_string()), "bigint");
        sql.push(" THEN 1 ELSE 0 END) FROM stored) = 1");
    }
}
