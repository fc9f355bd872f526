//! The documents that a write is for.

use super::{
    level::{Joint, Levels, Style},
    read::by_id,
    statement::Statement,
};
use crate::data::{id::DocumentId, model::DocModel, query::Level};

/// The documents that a write is for.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The one with this id.
    Id(&'a DocumentId),
    /// Those for which the conditions of the level hold, which are on its own fields only.
    Matching {
        /// The level.
        level: &'a Level<'a>,
        /// Documents at most. When there are more, the server divides by zero and nothing is written.
        most: u32,
    },
}

impl Which<'_> {
    /// ` WHERE` and the condition.
    pub(super) fn write(self, sql: &mut Statement, doc: &DocModel) {
        match self {
            Self::Id(id) => by_id(sql, doc, id),
            Self::Matching { level, .. } => {
                let mut joint = Joint(" WHERE ");
                Levels::new(Style::default()).conditions(sql, level, &mut joint);
                // Whatever else must hold comes behind it.
                if joint.0 == " WHERE " {
                    sql.push(" WHERE true");
                }
            }
        }
    }
}
