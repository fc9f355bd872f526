//! The versions of documents: number, action, actor, time and, of one that was asked for, the document.

use super::{predicate, statement::Statement};
use crate::{
    data::{id::DocumentId, model::DocModel, permit::Allowed},
    postgres::Bound,
};

/// The versions before `before`, newest first; of a document that the caller may see, see `visible`.
pub fn versions(doc: &DocModel, id: &DocumentId, before: Option<i64>, most: u16, visible: &Allowed) -> Bound {
    let mut sql = Statement::new("SELECT ");
    told(&mut sql);
    from(&mut sql, doc, id, visible);
    if let Some(before) = before {
        sql.push(" AND \"doc_version\" < ").bind(Some(&before.to_string()), "bigint");
    }
    sql.push(" ORDER BY \"at\" DESC, \"doc_version\" DESC LIMIT ").show(most);
    sql.finish()
}

/// The versions with these numbers, each with the document.
pub fn version(
    doc: &DocModel,
    id: &DocumentId,
    numbers: impl Iterator<Item = i64>,
    visible: &Allowed,
) -> Bound {
    let mut sql = Statement::new("SELECT ");
    told(&mut sql);
    sql.push(", \"body\"");
    from(&mut sql, doc, id, visible);
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    let numbers = super::statement::array(numbers.iter().map(String::as_str));
    sql.push(" AND \"doc_version\" = ANY (").bind(Some(&numbers), "bigint[]");
    sql.push(") ORDER BY \"at\" DESC LIMIT 20");
    sql.finish()
}

fn told(sql: &mut Statement) {
    sql.push("\"doc_version\", \"action\", \"actor\", replace(replace(\"at\"::text, ' ', 'T'), '+00', 'Z')");
}

fn from(sql: &mut Statement, doc: &DocModel, id: &DocumentId, visible: &Allowed) {
    sql.push(" FROM ");
    match &doc.side.history {
        Some(table) => drop(sql.qualified(table.as_str())),
        // Callers refuse a type without one.
        None => drop(sql.push("(SELECT FROM generate_series(1, 0)) AS none")),
    }
    sql.push(" WHERE \"doc_id\" = ").bind(Some(id.as_str()), "text");
    if *visible != Allowed::All {
        let cast = doc.id_type().to_string();
        sql.push(" AND EXISTS (SELECT FROM ")
            .table(doc)
            .push(" WHERE \"id\" = ")
            .bind(Some(id.as_str()), &cast);
        predicate::and_rules(sql, visible);
        sql.push(")");
    }
}
