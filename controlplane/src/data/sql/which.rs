//! The documents that a write is for.

use tenantry_crds::{definition::Ttl, v1alpha1::OnDelete};

use super::{
    level::{Joint, Levels, Style},
    read::by_id,
    statement::Statement,
};
use crate::data::{
    id::DocumentId,
    model::{DocModel, Referrer},
    query::Level,
};

/// The documents that a write is for.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The one with this id.
    Id(&'a DocumentId),
    /// The one that an earlier statement of the group stored, by its number.
    Result(usize),
    /// Those whose time has come and that no other document needs.
    Expired {
        /// When that is.
        ttl: &'a Ttl,
        /// The references that would be in the way.
        needed_by: &'a [Referrer],
        /// Documents at most.
        most: u32,
    },
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
            Self::Result(result) => {
                let cast = doc.id_type().to_string();
                sql.push(" WHERE \"id\" = ").push(&result_of(result, &cast));
            }
            Self::Expired { ttl, needed_by, most } => {
                sql.planned_by_value();
                sql.push(" WHERE \"id\" IN (SELECT old.\"id\" FROM ").table(doc).push(" AS old WHERE old.");
                sql.ident(&ttl.column)
                    .push(" < now() - ")
                    .bind(Some(&format!("{} seconds", ttl.seconds)), "interval");
                let restricts = needed_by.iter().filter(|referrer| referrer.on_delete == OnDelete::Restrict);
                for referrer in restricts {
                    sql.push(" AND NOT EXISTS (SELECT FROM ")
                        .table(&referrer.doc)
                        .push(" AS other WHERE other.");
                    sql.ident(&referrer.column).push(" = old.\"id\")");
                }
                // Another worker that sweeps the same passes these by.
                sql.push(" LIMIT ").show(most).push(" FOR UPDATE SKIP LOCKED)");
            }
            Self::Matching { level, .. } => {
                sql.planned_by_value();
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

/// The id of what an earlier statement of the group stored. A setting of the transaction: gone with it, however it ends.
pub(super) fn result_of(result: usize, cast: &str) -> String {
    format!("pg_catalog.current_setting('tenantry.result_{result}')::{cast}")
}
