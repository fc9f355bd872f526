//! One document, a page of documents.

use super::{
    level::{Levels, Style},
    predicate,
    statement::Statement,
};
use crate::{
    data::{
        id::DocumentId,
        model::DocModel,
        permit::{Allowed, Condition, Rights},
        query::{Level, ListQuery, Output},
    },
    postgres::Bound,
};

/// The document with this id, if the caller may see it: `select` first, then the version.
pub fn get(rights: &Rights<'_>, id: &DocumentId, select: &[usize], visible: &Allowed) -> Bound {
    let doc = rights.doc();
    let mut sql = Statement::new("SELECT ");
    predicate::shown(&mut sql, rights, select);
    sql.push(", \"version\" FROM ").table(doc);
    by_id(&mut sql, doc, id);
    predicate::and_rules(&mut sql, visible);
    sql.finish()
}

/// Of the document with this id, if the caller may see it: its version, and whether `allowed` holds for it.
pub fn look(doc: &DocModel, id: &DocumentId, visible: &Allowed, allowed: &Allowed) -> Bound {
    let mut sql = Statement::new("SELECT \"version\", ");
    predicate::rules(&mut sql, allowed);
    sql.push(" FROM ").table(doc);
    by_id(&mut sql, doc, id);
    predicate::and_rules(&mut sql, visible);
    sql.finish()
}

/// Of the document with this id, if the caller may see it: which of `conditions` hold for it.
pub fn holds(doc: &DocModel, id: &DocumentId, visible: &Allowed, conditions: &[Condition<String>]) -> Bound {
    let mut sql = Statement::new("SELECT ");
    for (n, condition) in conditions.iter().enumerate() {
        sql.push(if n > 0 { ", " } else { "" });
        predicate::condition(&mut sql, condition, &predicate::own);
    }
    sql.push(" FROM ").table(doc);
    by_id(&mut sql, doc, id);
    predicate::and_rules(&mut sql, visible);
    sql.finish()
}

/// A page of documents.
#[derive(Debug)]
pub struct Page {
    /// The statement. It asks for one item more than the page has, to know whether there is another page.
    pub statement: Bound,
    /// Where in a row the values of the order's subjects are.
    pub keys: Vec<usize>,
}

/// The documents that `query` asks for: the members of each first, then the subjects of the order that are not among them.
pub fn list(query: &ListQuery<'_>, style: Style) -> Page {
    let level = &query.level;
    let mut sql = Statement::new("SELECT ");
    let mut writer = Levels::new(style);
    writer.members(&mut sql, level);
    let mut width = level.outputs.len();
    let keys = level
        .order
        .iter()
        .map(|order| {
            let shown = |output: &Output| matches!(output, Output::Subject { subject, .. } if *subject == order.subject);
            level.outputs.iter().position(shown).unwrap_or_else(|| {
                sql.push(if width > 0 { ", " } else { "" });
                predicate::subject(&mut sql, level.doc, &order.subject);
                width += 1;
                width - 1
            })
        })
        .collect();
    writer.source(&mut sql, level, query.after.as_deref());
    predicate::order(&mut sql, level.doc, &level.order);
    // Not a parameter: a plan for any limit would not know that only a few rows are wanted.
    sql.push(" LIMIT ").show(level.limit + 1);
    if level.offset > 0 {
        sql.push(" OFFSET ").bind(Some(&level.offset.to_string()), "bigint");
    }
    Page { statement: sql.finish(), keys }
}

/// The document with this id, if the caller may see it: its members, then the version.
pub fn get_members(level: &Level<'_>, id: &DocumentId, style: Style) -> Bound {
    let mut sql = Statement::new("SELECT ");
    let mut writer = Levels::new(style);
    writer.members(&mut sql, level);
    sql.push(if level.outputs.is_empty() { "" } else { ", " }).push("\"version\"");
    writer.source(&mut sql, level, None);
    sql.push(if writer.has_conditions(level) { " AND " } else { " WHERE " }).push("\"id\" = ");
    let cast = level.doc.id_type().to_string();
    sql.bind(Some(id.as_str()), &cast);
    sql.finish()
}

/// How many documents there are on all pages; no more than `most` are counted.
pub fn count(level: &Level<'_>, most: Option<u32>) -> Bound {
    let mut sql = Statement::new("SELECT count(*)");
    let mut writer = Levels::new(Style::default());
    match most {
        None => writer.source(&mut sql, level, None),
        Some(most) => {
            sql.push(" FROM (SELECT");
            writer.source(&mut sql, level, None);
            sql.push(" LIMIT ").show(most).push(") AS counted");
        }
    }
    sql.finish()
}

/// What the server's plan says about how many documents there are on all pages, as JSON.
pub fn plan(level: &Level<'_>) -> Bound {
    let mut sql = Statement::new("EXPLAIN (FORMAT JSON) SELECT");
    Levels::new(Style::default()).source(&mut sql, level, None);
    sql.finish()
}

pub(super) fn by_id(sql: &mut Statement, doc: &DocModel, id: &DocumentId) {
    let cast = doc.id_type().to_string();
    sql.push(" WHERE \"id\" = ").bind(Some(id.as_str()), &cast);
}
