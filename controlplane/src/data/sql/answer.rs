//! What a write yields.

use super::{
    level::{Levels, Style},
    predicate,
    statement::Statement,
    which::Which,
    write::Write,
};
use crate::data::query::Level;

/// What a write yields, after the common table expression `stored` and those that keep its journal.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// Each document with these columns, by their places in the model, as far as the caller sees them.
    Documents(&'a [usize]),
    /// Each document with these members.
    Members(&'a Level<'a>, Style),
    /// A row for each document.
    Marks,
    /// How many documents there were.
    Count,
}

impl Answer<'_> {
    fn width(self) -> usize {
        match self {
            Self::Documents(columns) => columns.len(),
            Self::Members(level, _) => level.outputs.len(),
            Self::Marks | Self::Count => 1,
        }
    }

    fn outputs(self, sql: &mut Statement, write: &Write<'_>) {
        match self {
            Self::Documents(columns) => predicate::shown(sql, write.rights, columns),
            Self::Members(level, style) => Levels::new(style).members(sql, level),
            Self::Marks => drop(sql.push("1")),
            Self::Count => drop(sql.push("count(*)")),
        }
    }

    /// The end of a write for `which`. An answer that is kept is what the statement yields, as rows of texts: made again from them,
    /// it is the same to the byte.
    pub(super) fn write(self, sql: &mut Statement, which: Option<Which<'_>>, write: &Write<'_>) {
        let Some(kept) = write.kept else {
            sql.push(" SELECT ");
            self.outputs(sql, write);
            self.result(sql, write);
            self.source(sql, which, write);
            return;
        };
        let names: Vec<String> = (0..self.width()).map(|n| format!("\"{n}\"")).collect();
        let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
        sql.push(", answer (").push(&names.join(", ")).push(") AS (SELECT ");
        self.outputs(sql, write);
        sql.push(" FROM stored AS ").push(Levels::OUTERMOST);
        sql.push("), kept AS (INSERT INTO tenantry.idempotency (id, part, asked, answer) SELECT ");
        sql.bind(Some(kept.id), "text").push(&format!(", {}, ", kept.part)).bind(Some(kept.asked), "text");
        sql.push(", json_agg(ARRAY[")
            .push(&texts.join(", "))
            .push("]::text[]) FROM answer HAVING count(*) > 0)");
        sql.push(" SELECT ");
        self.outputs(sql, write);
        self.result(sql, write);
        self.source(sql, which, write);
    }

    fn result(self, sql: &mut Statement, write: &Write<'_>) {
        if let Some(result) = write.result {
            sql.push(&format!(", pg_catalog.set_config('tenantry.result_{result}', "));
            sql.push(Levels::OUTERMOST).push(".\"id\"::text, true)");
        }
    }

    fn source(self, sql: &mut Statement, which: Option<Which<'_>>, write: &Write<'_>) {
        if write.together {
            // No document may have the name of this column.
            sql.push(" FROM tenantry.required(EXISTS (SELECT FROM stored)) AS \"-\" LEFT JOIN stored AS ");
            sql.push(Levels::OUTERMOST).push(" ON true");
        } else {
            sql.push(" FROM stored AS ").push(Levels::OUTERMOST);
        }
        let Some(Which::Matching { most, .. }) = which else { return };
        sql.push(if matches!(self, Self::Count) { " HAVING " } else { " WHERE " });
        sql.push("(SELECT 1 / (CASE WHEN count(*) <= ").bind(Some(&most.to_string()), "bigint");
        sql.push(" THEN 1 ELSE 0 END) FROM stored) = 1");
        if let Self::Members(level, _) = self {
            predicate::order(sql, level.doc, &level.order);
        }
    }
}
