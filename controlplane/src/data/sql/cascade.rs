//! What goes with documents that are deleted, and what is changed.
//!
//! The foreign keys would do the same, but silently: nobody would hear of it, not the index, not the audit. So the statement does it
//! first, and what the keys find to do is nothing.

use tenantry_migrations::sql::Literal;

use super::{
    statement::Statement,
    write::{Author, audit, event, history, json_forms},
};
use crate::data::model::{Consequences, DocModel};

/// `doomed`: the kind and the id of every document that goes, beginning with those of `root`.
pub(super) fn doomed(sql: &mut Statement, doc: &DocModel, consequences: &Consequences<'_>) {
    let kind = Literal(doc.table.as_str()).to_string();
    sql.push(", doomed (kind, id) AS (SELECT ").push(&kind).push("::text, \"id\"::text FROM root");
    for (n, (target, referrer)) in consequences.ways.iter().enumerate() {
        sql.push(if n == 0 {
            " UNION SELECT next.kind, next.id FROM doomed CROSS JOIN LATERAL (SELECT "
        } else {
            " UNION ALL SELECT "
        });
        let (child, cast) = (&referrer.doc, cast_of(consequences, doc, target.as_str()));
        sql.show(Literal(child.table.as_str())).push("::text AS kind, child.\"id\"::text AS id FROM ");
        sql.table(child).push(" AS child WHERE child.").ident(&referrer.column);
        // Ids of other kinds may not be of the type.
        sql.push(" = CASE WHEN doomed.kind = ").show(Literal(target.as_str()));
        sql.push(" THEN doomed.id::").push(&cast).push(" END");
    }
    sql.push(if consequences.ways.is_empty() { ")" } else { ") AS next)" });
}

/// The deletions and changes, each with its events, audit rows and versions.
pub(super) fn carry_out(
    sql: &mut Statement,
    doc: &DocModel,
    consequences: &Consequences<'_>,
    author: Author<'_>,
    user: &str,
) {
    for (n, child) in consequences.doomed.iter().enumerate() {
        sql.push(&format!(", gone_{n} AS (DELETE FROM ")).table(child);
        sql.push(" WHERE \"id\" IN (").push(&ids(child, child.table.as_str())).push(")");
        if child.table == doc.table {
            sql.push(" AND \"id\" NOT IN (SELECT \"id\" FROM root)");
        }
        sql.push(" RETURNING ").columns(&child.columns).push(")");
        sql.push(&format!(
            ", made_{n} AS (SELECT gone.\"id\"::text AS id, gone.\"version\" + 1 AS version, "
        ));
        if child.side.history.is_some() {
            sql.push(&format!(
                "row_to_json(shown) AS body FROM gone_{n} AS gone CROSS JOIN LATERAL (SELECT "
            ));
            json_forms(sql, child, "gone");
            sql.push(") AS shown)");
        } else {
            sql.push(&format!("NULL::json AS body FROM gone_{n} AS gone)"));
        }
        let made = format!("made_{n}");
        sql.push(&format!(", event_{n} AS ("));
        event(sql, child, author, &format!("'Delete', NULL::json FROM {made}"));
        audit(sql, child, &format!("audit_{n}"), "'Delete'", author, user);
        sql.push(&format!("NULL::json FROM {made})"));
        history(sql, child, &format!("version_{n}"), "'Delete'", user, &made);
    }
    let mut children: Vec<&DocModel> = Vec::new();
    for (_, referrer) in &consequences.emptied {
        if children.iter().all(|known| known.table != referrer.doc.table) {
            children.push(&referrer.doc);
        }
    }
    for (n, child) in children.into_iter().enumerate() {
        let n = n + consequences.doomed.len();
        empty(sql, child, doc, consequences, (n, author, user));
    }
}

fn empty(
    sql: &mut Statement,
    child: &DocModel,
    doc: &DocModel,
    consequences: &Consequences<'_>,
    (n, author, user): (usize, Author<'_>, &str),
) {
    let mine = || consequences.emptied.iter().filter(|(_, referrer)| referrer.doc.table == child.table);
    let of = |target: &str| {
        let cast = cast_of(consequences, doc, target);
        format!("SELECT id::{cast} FROM doomed WHERE kind = {}", Literal(target))
    };
    sql.push(&format!(", emptied_{n} AS (UPDATE ")).table(child);
    sql.push(" SET \"version\" = \"version\" + 1, \"updated_at\" = now(), \"updated_by\" = ").push(user);
    for (target, referrer) in mine() {
        sql.push(", ").ident(&referrer.column).push(" = CASE WHEN ").ident(&referrer.column);
        sql.push(" IN (")
            .push(&of(target.as_str()))
            .push(") THEN NULL ELSE ")
            .ident(&referrer.column)
            .push(" END");
    }
    for (m, (target, referrer)) in mine().enumerate() {
        sql.push(if m == 0 { " WHERE (" } else { " OR " });
        sql.ident(&referrer.column).push(" IN (").push(&of(target.as_str())).push(")");
    }
    sql.push(") AND \"id\" NOT IN (").push(&ids(child, child.table.as_str())).push(")");
    sql.push(" RETURNING ").columns(&child.columns).push(")");
    sql.push(&format!(
        ", made_{n} AS (SELECT kept.\"id\"::text AS id, kept.\"version\" AS version, row_to_json(shown) AS body \
         FROM emptied_{n} AS kept CROSS JOIN LATERAL (SELECT "
    ));
    json_forms(sql, child, "kept");
    sql.push(&format!(") AS shown), event_{n} AS ("));
    event(sql, child, author, &format!("'Put', body FROM made_{n}"));
    audit(sql, child, &format!("audit_{n}"), "'Update'", author, user);
    let columns: serde_json::Map<String, serde_json::Value> =
        mine().map(|(_, referrer)| (referrer.column.clone(), serde_json::Value::Null)).collect();
    sql.show(Literal(&serde_json::Value::Object(columns).to_string()));
    sql.push(&format!("::json FROM made_{n})"));
    history(sql, child, &format!("version_{n}"), "'Update'", user, &format!("made_{n}"));
}

/// The ids of the documents of a kind that go.
fn ids(doc: &DocModel, kind: &str) -> String {
    format!("SELECT id::{} FROM doomed WHERE kind = {}", doc.id_type(), Literal(kind))
}

/// The type of the ids of what is in this table.
fn cast_of(consequences: &Consequences<'_>, doc: &DocModel, table: &str) -> String {
    let known = consequences.doomed.iter().find(|known| known.table.as_str() == table);
    known.map_or_else(|| doc.id_type(), |known| known.id_type()).to_string()
}
