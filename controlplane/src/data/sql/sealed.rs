//! Sealed values where they are stored: what is under which key, and moving it to another.
//!
//! None of it is a write of a document: what a document holds does not change, so nobody hears of it.

use tenantry_keyring::sealed::PREFIX;

use super::statement::{Statement, array};
use crate::{
    data::model::{ColumnModel, DocModel},
    postgres::Bound,
};

/// No secret that was sealed here is longer, in bytes. Whoever has direct access can store what they like.
const LONGEST: &str = "32768";

/// Documents, after the one with the id `after`, with a value that does not begin with `prefix`: the id, then the sealed columns,
/// with nothing in the place of values that are too long to be secrets.
pub fn not_under(
    doc: &DocModel,
    columns: &[&ColumnModel],
    prefix: &str,
    after: Option<&str>,
    most: usize,
) -> Bound {
    let mut sql = Statement::new("SELECT \"id\"::text");
    for column in columns {
        sql.push(", CASE WHEN octet_length(").ident(&column.name).push(") <= ").push(LONGEST);
        sql.push(" THEN ").ident(&column.name).push(" END");
    }
    sql.push(" FROM ").table(doc).push(" WHERE (");
    let prefix = sql.keep(Some(prefix), "text");
    for (n, column) in columns.iter().enumerate() {
        // Of NULL it is not known how it begins, and that is no reason.
        sql.push(if n > 0 { " OR NOT starts_with(" } else { "NOT starts_with(" });
        sql.ident(&column.name).push(", ").push(&prefix).push(")");
    }
    sql.push(")");
    if let Some(after) = after {
        sql.push(" AND \"id\" > ").bind(Some(after), &doc.id_type().to_string());
    }
    sql.push(" ORDER BY \"id\" LIMIT ").bind(Some(&most.to_string()), "bigint");
    sql.finish()
}

/// Puts `new` into the place of `old`, unless somebody wrote there meanwhile.
pub fn put_in_place(doc: &DocModel, column: &ColumnModel, id: &str, old: &str, new: &str) -> Bound {
    let mut sql = Statement::new("UPDATE ");
    sql.table(doc).push(" SET ").ident(&column.name).push(" = ").bind(Some(new), "text");
    sql.push(" WHERE \"id\" = ").bind(Some(id), &doc.id_type().to_string());
    sql.push(" AND ").ident(&column.name).push(" = ").bind(Some(old), "text");
    sql.finish()
}

/// How many values of `column` are under each of `keys`, and under others with an empty name; without a name, those in the clear. The
/// names are those of `keys` and no others: whoever has direct access could store any number of them.
pub fn count_by_key<'a>(
    doc: &DocModel,
    column: &ColumnModel,
    keys: impl IntoIterator<Item = &'a str>,
) -> Bound {
    let mut sql = Statement::new("SELECT CASE WHEN NOT starts_with(");
    let prefix = sql.keep(Some(PREFIX), "text");
    let keys = sql.keep(Some(&array(keys)), "text[]");
    sql.ident(&column.name).push(", ").push(&prefix).push(") THEN NULL WHEN split_part(").ident(&column.name);
    sql.push(", ':', 2) = ANY (").push(&keys).push(") THEN split_part(").ident(&column.name);
    sql.push(", ':', 2) ELSE '' END, count(*) FROM ").table(doc);
    sql.push(" WHERE ").ident(&column.name).push(" IS NOT NULL GROUP BY 1");
    sql.finish()
}
