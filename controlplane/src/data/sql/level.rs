//! Documents with what is embedded in them.
//!
//! The members of the outermost documents are columns of the statement and become JSON in this program; what is embedded comes as
//! JSON from a subquery of its own. In a subquery names without a qualifier are those of its own table, the innermost one, so
//! filters and permissions read the same at every level; only the link to the document around it is qualified.

use tenantry_migrations::layout::SqlType;

use super::{predicate, statement::Statement};
use crate::data::{
    model::{ColumnModel, Direction},
    permit::Allowed,
    query::{Condition, Embed, Kind, Level, Output},
};

/// How values become JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// How decimals are written.
    pub decimals: Decimals,
    /// Whether members that are NULL are left out.
    pub strip_nulls: bool,
}

/// How decimals are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decimals {
    /// As text, since a reader of JSON numbers may round them.
    #[default]
    Text,
    /// As numbers, with every digit.
    Number,
}

/// Writes levels, each under an alias of its own.
#[derive(Debug)]
pub(super) struct Levels {
    style: Style,
    /// The alias of the level at hand.
    here: usize,
    /// The last alias that was given.
    last: usize,
}

impl Levels {
    pub fn new(style: Style) -> Self {
        Self { style, here: 0, last: 0 }
    }

    /// The alias of the outermost level.
    pub const OUTERMOST: &'static str = "t0";

    /// The members of the outermost documents, with commas between them.
    pub fn members(&mut self, sql: &mut Statement, level: &Level<'_>) {
        for (n, output) in level.outputs.iter().enumerate() {
            sql.push(if n > 0 { ", " } else { "" });
            match output {
                Output::Subject { subject, .. } => {
                    seen(sql, level, subject.column, |sql| predicate::subject(sql, level.doc, subject));
                }
                Output::Embed(n) => self.embed(sql, level, *n),
            }
        }
    }

    /// `FROM` the table of the outermost level, `WHERE` its conditions hold.
    pub fn source(&mut self, sql: &mut Statement, level: &Level<'_>, after: Option<&[Option<String>]>) {
        sql.push(" FROM ").table(level.doc).push(" AS ").push(Self::OUTERMOST);
        let mut joint = Joint(" WHERE ");
        self.conditions(sql, level, &mut joint);
        if let Some(values) = after {
            joint.write(sql);
            predicate::after(sql, level.doc, &level.order, values);
        }
    }

    /// Whether [`Self::source`] has written a condition.
    pub fn has_conditions(&self, level: &Level<'_>) -> bool {
        !level.conditions.is_empty() || level.visible != Allowed::All || level.has_required()
    }

    /// The conditions of a level alone, each with its joint.
    pub fn conditions(&mut self, sql: &mut Statement, level: &Level<'_>, joint: &mut Joint) {
        for condition in &level.conditions {
            joint.write(sql);
            self.condition(sql, level, condition);
        }
        if level.visible != Allowed::All {
            joint.write(sql);
            predicate::rules(sql, &level.visible);
        }
        for embed in level.embeds.iter().filter(|embed| embed.required) {
            joint.write(sql);
            self.exists(sql, embed);
        }
    }

    fn condition(&mut self, sql: &mut Statement, level: &Level<'_>, condition: &Condition) {
        let mut several = |sql: &mut Statement, terms: &[Condition], joint: &str| {
            for (n, term) in terms.iter().enumerate() {
                sql.push(if n > 0 { joint } else { "(" });
                self.condition(sql, level, term);
            }
            sql.push(")");
        };
        match condition {
            Condition::Filter(filter) => predicate::filter(sql, level.doc, filter),
            Condition::All(terms) => several(sql, terms, " AND "),
            Condition::Any(terms) => several(sql, terms, " OR "),
            Condition::Not(term) => {
                sql.push("NOT ");
                self.condition(sql, level, term);
            }
            Condition::Related(n) => {
                if let Some(embed) = level.embeds.get(*n) {
                    self.exists(sql, embed);
                }
            }
        }
    }

    fn exists(&mut self, sql: &mut Statement, embed: &Embed<'_>) {
        sql.push("EXISTS (SELECT");
        let around = self.enter();
        self.linked(sql, embed, around);
        self.here = around;
        sql.push(")");
    }

    fn embed(&mut self, sql: &mut Statement, level: &Level<'_>, n: usize) {
        let Some(embed) = level.embeds.get(n) else { return };
        let around = self.enter();
        match embed.link.direction {
            Direction::ToOne(_) => {
                sql.push("(SELECT ");
                self.document(sql, &embed.level);
                self.linked(sql, embed, around);
                sql.push(")");
            }
            Direction::ToMany(_) => {
                sql.push("(SELECT coalesce(json_agg(item), '[]'::json) FROM (SELECT ");
                self.document(sql, &embed.level);
                sql.push(" AS item");
                self.linked(sql, embed, around);
                predicate::order(sql, embed.level.doc, &embed.level.order);
                sql.push(" LIMIT ").show(embed.level.limit);
                if embed.level.offset > 0 {
                    sql.push(" OFFSET ").bind(Some(&embed.level.offset.to_string()), "bigint");
                }
                sql.push(") AS items)");
            }
        }
        self.here = around;
    }

    /// Goes to a level inside; yields the alias of the one around it.
    fn enter(&mut self) -> usize {
        self.last += 1;
        std::mem::replace(&mut self.here, self.last)
    }

    /// `FROM` the table of what is embedded, `WHERE` it is linked with the document around it and its conditions hold.
    fn linked(&mut self, sql: &mut Statement, embed: &Embed<'_>, around: usize) {
        let here = self.here;
        sql.push(" FROM ").table(embed.link.target).show(format_args!(" AS t{here} WHERE "));
        let (of_here, of_around) = match embed.link.direction {
            Direction::ToOne(field) => ("id", field),
            Direction::ToMany(field) => (field, "id"),
        };
        sql.show(format_args!("t{here}.")).ident(of_here);
        sql.show(format_args!(" = t{around}.")).ident(of_around);
        self.conditions(sql, &embed.level, &mut Joint(" AND "));
    }

    /// A document as JSON. What its members are called may come from the query, so that is a parameter, too.
    fn document(&mut self, sql: &mut Statement, level: &Level<'_>) {
        sql.push("JSON_OBJECT(");
        for (n, output) in level.outputs.iter().enumerate() {
            sql.push(if n > 0 { ", (" } else { "(" }).bind(Some(level.key(output)), "text").push(") VALUE ");
            match output {
                Output::Embed(n) => self.embed(sql, level, *n),
                Output::Subject { subject, .. } => {
                    seen(sql, level, subject.column, |sql| match subject.kind(level.doc) {
                        Some(Kind::Column(column)) => self.json_form(sql, column),
                        _ => predicate::subject(sql, level.doc, subject),
                    })
                }
            }
        }
        sql.push(if self.style.strip_nulls { " ABSENT ON NULL" } else { "" });
        sql.push(" RETURNING json)");
    }

    /// A column such that JSON holds what answers show.
    fn json_form(&self, sql: &mut Statement, column: &ColumnModel) {
        let name = &column.name;
        match (column.sql_type, self.style.decimals) {
            (SqlType::Numeric { .. }, Decimals::Text) => sql.ident(name).push("::text"),
            (SqlType::Timestamptz, _) => {
                sql.push("replace(replace(").ident(name).push("::text, ' ', 'T'), '+00', 'Z')")
            }
            _ => sql.ident(name),
        };
    }
}

/// `value`, in the documents of which the caller may read the column in this place; NULL in others.
fn seen(sql: &mut Statement, level: &Level<'_>, column: usize, value: impl FnOnce(&mut Statement)) {
    let Some((_, condition)) = level.partly.iter().find(|(partly, _)| *partly == column) else {
        return value(sql);
    };
    sql.push("CASE WHEN ");
    predicate::condition(sql, condition, &predicate::own);
    sql.push(" THEN ");
    value(sql);
    sql.push(" END");
}

/// What stands before the next condition.
#[derive(Debug)]
pub(super) struct Joint(pub &'static str);

impl Joint {
    fn write(&mut self, sql: &mut Statement) {
        sql.push(self.0);
        self.0 = " AND ";
    }
}
