//! One document, a page of documents.

use super::{predicate, statement::Statement};
use crate::{
    data::{
        id::DocumentId,
        model::{ColumnModel, DocModel},
        permit::Allowed,
        query::ListQuery,
    },
    postgres::Bound,
};

/// The document with this id, if the caller may see it: `select` first, then the version.
pub fn get(doc: &DocModel, id: &DocumentId, select: &[usize], visible: &Allowed) -> Bound {
    let mut sql = Statement::new("SELECT ");
    sql.columns(columns(doc, select)).push(", \"version\" FROM ").table(doc);
    by_id(&mut sql, doc, id);
    predicate::and_rules(&mut sql, visible);
    sql.finish()
}

/// Of the document with this id, if the caller may see it: its version, and whether all of `allowed` hold for it.
pub fn look(doc: &DocModel, id: &DocumentId, visible: &Allowed, allowed: &[&Allowed]) -> Bound {
    let mut sql = Statement::new("SELECT \"version\", true");
    for allowed in allowed {
        predicate::and_rules(&mut sql, allowed);
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
    /// Where in a row the values of the order's columns are.
    pub keys: Vec<usize>,
}

/// The documents that `query` asks for, among those that the caller may see: its columns first, then those of the order that it
/// left out.
pub fn list(doc: &DocModel, query: &ListQuery, visible: &Allowed) -> Page {
    let mut places = query.select.clone();
    let keys = query
        .order
        .iter()
        .map(|order| {
            places.iter().position(|column| *column == order.column).unwrap_or_else(|| {
                places.push(order.column);
                places.len() - 1
            })
        })
        .collect();
    let mut sql = Statement::new("SELECT ");
    sql.columns(columns(doc, &places)).push(" FROM ").table(doc);
    let mut conditions = 0;
    let mut next = |sql: &mut Statement| {
        sql.push(if conditions == 0 { " WHERE " } else { " AND " });
        conditions += 1;
    };
    for filter in &query.filters {
        next(&mut sql);
        predicate::filter(&mut sql, doc, filter);
    }
    if *visible != Allowed::All {
        next(&mut sql);
        predicate::rules(&mut sql, visible);
    }
    if let Some(values) = &query.after {
        next(&mut sql);
        predicate::after(&mut sql, doc, query, values);
    }
    for (n, order) in query.order.iter().enumerate() {
        let Some(column) = doc.columns.get(order.column) else { continue };
        sql.push(if n == 0 { " ORDER BY " } else { ", " }).ident(&column.name);
        sql.push(if order.descending { " DESC" } else { "" });
    }
    // Not a parameter: a plan for any limit would not know that only a few rows are wanted.
    sql.push(" LIMIT ").show(u32::from(query.limit) + 1);
    Page { statement: sql.finish(), keys }
}

/// The columns in these places of the model.
pub(super) fn columns<'a>(doc: &'a DocModel, places: &[usize]) -> impl Iterator<Item = &'a ColumnModel> {
    places.iter().filter_map(|place| doc.columns.get(*place))
}

pub(super) fn by_id(sql: &mut Statement, doc: &DocModel, id: &DocumentId) {
    let cast = doc.id_type().to_string();
    sql.push(" WHERE \"id\" = ").bind(Some(id.as_str()), &cast);
}
