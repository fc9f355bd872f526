//! A document with its event and its audit row, in one statement.
//!
//! The row is stored by a common table expression whose result feeds the outbox and the audit, so there is no way to write one
//! without the others, and no second trip.

use tenantry_crds::definition::{Naming, SeriesPattern};
use tenantry_migrations::{layout::SqlType, sql::Literal};

use super::{
    answer::Answer,
    predicate,
    statement::{Statement, array},
    which::Which,
};
use crate::{
    data::{
        id::DocumentId,
        model::{ColumnModel, DocModel},
        permit::Allowed,
        validate::Values,
    },
    postgres::Bound,
};

/// Who writes, for the row and for the audit.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The user's id.
    pub user: &'a str,
    /// The request's id.
    pub request: &'a str,
    /// The address that the request came from.
    pub client: Option<&'a str>,
}

/// The id of a new document.
#[derive(Debug)]
pub enum NewId {
    /// Known before.
    Given(DocumentId),
    /// The next one of the type's series.
    Series,
}

/// What becomes of a new document when there is one already with the same value in a unique column.
#[derive(Debug, Clone, Copy)]
pub struct Conflict<'a> {
    /// The column, by its name.
    pub column: &'a str,
    /// What to do then.
    pub then: Then<'a>,
}

/// What to do with a new document that is there already.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    /// Nothing.
    Ignore,
    /// To set these columns, by their place in the model, of the one that is there.
    Merge {
        /// The columns.
        columns: &'a [usize],
        /// What the caller may change, before and after. When that leaves the document out, the server divides by zero and
        /// nothing is written.
        allowed: &'a Allowed,
        after: &'a Allowed,
    },
}

/// Which versions of a document may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// Whichever is there.
    Any,
    /// One of these.
    OneOf(Vec<i64>),
}

/// Stores a new document.
pub fn insert(
    doc: &DocModel,
    id: &NewId,
    values: &Values,
    conflict: Option<Conflict<'_>>,
    author: Author<'_>,
    answer: Answer<'_>,
) -> Bound {
    let mut sql = Statement::new("WITH stored AS (INSERT INTO ");
    sql.table(doc).push(" AS kept (\"id\"");
    for column in set_columns(doc, values) {
        sql.push(", ").ident(&column.name);
    }
    sql.push(", \"created_by\", \"updated_by\") VALUES (");
    match (id, &doc.naming) {
        (NewId::Given(id), _) => {
            sql.bind(Some(id.as_str()), &doc.id_type().to_string());
        }
        (NewId::Series, Naming::Series(pattern)) => series(&mut sql, doc, pattern),
        // A type without a series has no number to give; the primary key refuses the row.
        (NewId::Series, _) => {
            sql.push("NULL");
        }
    }
    for (n, value) in &values.columns {
        if let Some(column) = doc.columns.get(*n) {
            sql.push(", ").bind_for(column, value.as_deref());
        }
    }
    let user = sql.keep(Some(author.user), "text");
    sql.push(&format!(", {user}, {user})"));
    if let Some(conflict) = conflict {
        on_conflict(&mut sql, doc, conflict);
    }
    returning(&mut sql, doc);
    let action = match conflict {
        None => "'Create'",
        // Only a document that was there before has another version.
        Some(_) => "CASE WHEN version = 1 THEN 'Create' ELSE 'Update' END",
    };
    journal(&mut sql, doc, action, author, &user, None);
    answer.write(&mut sql, doc);
    sql.finish()
}

/// Changes documents, those that `allowed`, `version` and `after` all admit. `after` is what must hold once `values` are set.
#[allow(clippy::too_many_arguments, reason = "each says one thing about the write")]
pub fn update(
    doc: &DocModel,
    which: Which<'_>,
    values: &Values,
    version: &Version,
    allowed: &Allowed,
    after: &Allowed,
    author: Author<'_>,
    answer: Answer<'_>,
) -> Bound {
    let mut sql = Statement::new("WITH stored AS (UPDATE ");
    let user = sql.keep(Some(author.user), "text");
    sql.table(doc);
    sql.push(" SET \"version\" = \"version\" + 1, \"updated_at\" = now(), \"updated_by\" = ").push(&user);
    for (n, value) in &values.columns {
        if let Some(column) = doc.columns.get(*n) {
            sql.push(", ").ident(&column.name).push(" = ").bind_for(column, value.as_deref());
        }
    }
    which.write(&mut sql, doc);
    predicate::and_rules(&mut sql, allowed);
    if after != allowed {
        predicate::and_rules(&mut sql, after);
    }
    and_version(&mut sql, version);
    returning(&mut sql, doc);
    let shown = serde_json::Value::Object(values.shown.clone()).to_string();
    journal(&mut sql, doc, "'Update'", author, &user, Some(&shown));
    answer.write_for(&mut sql, doc, which);
    sql.finish()
}

/// Deletes documents, those that `allowed` and `version` admit.
pub fn delete(
    doc: &DocModel,
    which: Which<'_>,
    version: &Version,
    allowed: &Allowed,
    author: Author<'_>,
    answer: Answer<'_>,
) -> Bound {
    let mut sql = Statement::new("WITH stored AS (DELETE FROM ");
    sql.table(doc);
    which.write(&mut sql, doc);
    predicate::and_rules(&mut sql, allowed);
    and_version(&mut sql, version);
    if answer.needs_documents() {
        returning(&mut sql, doc);
    } else {
        sql.push(" RETURNING \"id\", \"version\")");
    }
    // One more than the last version that readers of events may have seen.
    sql.push(", gone AS (SELECT \"id\"::text AS id, \"version\" + 1 AS version FROM stored), event AS (");
    event(&mut sql, doc, "'Delete', NULL::json FROM gone");
    let user = sql.keep(Some(author.user), "text");
    audit(&mut sql, doc, "'Delete'", author, &user);
    sql.push("NULL::json FROM gone)");
    answer.write_for(&mut sql, doc, which);
    sql.finish()
}

fn on_conflict(sql: &mut Statement, doc: &DocModel, conflict: Conflict<'_>) {
    sql.push(" ON CONFLICT (").ident(conflict.column).push(") DO ");
    let Then::Merge { columns, allowed, after } = conflict.then else {
        sql.push("NOTHING");
        return;
    };
    sql.push("UPDATE SET \"version\" = kept.\"version\" + 1, \"updated_at\" = now(), ");
    sql.push("\"updated_by\" = EXCLUDED.\"updated_by\"");
    for column in columns.iter().filter_map(|n| doc.columns.get(*n)) {
        sql.push(", ").ident(&column.name).push(" = EXCLUDED.").ident(&column.name);
    }
    if *allowed != Allowed::All || *after != Allowed::All {
        // In a subquery of its own, since a name here could be one of the new row, too.
        sql.push(" WHERE 1 / (CASE WHEN EXISTS (SELECT FROM ").table(doc);
        sql.push(" AS mine WHERE mine.\"id\" = kept.\"id\"");
        predicate::and_rules(sql, allowed);
        if after != allowed {
            predicate::and_rules(sql, after);
        }
        sql.push(") THEN 1 ELSE 0 END) = 1");
    }
}

fn and_version(sql: &mut Statement, version: &Version) {
    if let Version::OneOf(versions) = version {
        let versions: Vec<String> = versions.iter().map(i64::to_string).collect();
        let versions = array(versions.iter().map(String::as_str));
        sql.push(" AND \"version\" = ANY (").bind(Some(&versions), "bigint[]").push(")");
    }
}

/// `prefix` and a number with at least as many digits as the pattern has.
fn series(sql: &mut Statement, doc: &DocModel, pattern: &SeriesPattern) {
    let Some(name) = &doc.series else {
        sql.push("NULL");
        return;
    };
    let digits = pattern.digits;
    sql.push("(SELECT ").show(Literal(&pattern.prefix));
    sql.push(&format!(" || lpad(n::text, greatest({digits}, length(n::text)), '0') FROM nextval('"));
    // The quoted names of the schema and the sequence, inside of a literal: neither can hold a quote of either kind.
    sql.schema().push(".").ident(name.as_str()).push("'::regclass) AS n)");
}

fn set_columns<'a>(doc: &'a DocModel, values: &'a Values) -> impl Iterator<Item = &'a ColumnModel> {
    values.columns.iter().filter_map(|(n, _)| doc.columns.get(*n))
}

pub(super) fn shown_columns(doc: &DocModel) -> impl Iterator<Item = &ColumnModel> {
    doc.columns.iter().filter(|column| column.is_readable())
}

fn returning(sql: &mut Statement, doc: &DocModel) {
    sql.push(" RETURNING ").columns(shown_columns(doc)).push(")");
}

/// The event and the audit row of `stored`. `changes` are those of the audit row; the whole document unless
/// given.
fn journal(
    sql: &mut Statement,
    doc: &DocModel,
    action: &str,
    author: Author<'_>,
    user: &str,
    changes: Option<&str>,
) {
    sql.push(", made AS (SELECT stored.\"id\"::text AS id, stored.\"version\" AS version, row_to_json(shown) AS body \
              FROM stored CROSS JOIN LATERAL (SELECT ");
    for (n, column) in shown_columns(doc).enumerate() {
        sql.push(if n > 0 { ", " } else { "" });
        json_form(sql, column);
    }
    sql.push(") AS shown), event AS (");
    event(sql, doc, "'Put', body FROM made");
    audit(sql, doc, action, author, user);
    match changes {
        Some(changes) => {
            sql.bind(Some(changes), "json");
        }
        None => {
            sql.push("body");
        }
    }
    sql.push(" FROM made)");
}

/// A column of `stored` such that `row_to_json` writes what answers show: decimals as text, times in RFC 3339 with a `Z`.
fn json_form(sql: &mut Statement, column: &ColumnModel) {
    let name = &column.name;
    match column.sql_type {
        SqlType::Numeric { .. } => sql.push("stored.").ident(name).push("::text AS ").ident(name),
        SqlType::Timestamptz => sql
            .push("replace(replace(stored.")
            .ident(name)
            .push("::text, ' ', 'T'), '+00', 'Z') AS ")
            .ident(name),
        _ => sql.push("stored.").ident(name),
    };
}

fn event(sql: &mut Statement, doc: &DocModel, rest: &str) {
    sql.push("INSERT INTO tenantry.outbox (app, doc_type, doc_id, doc_version, operation, body) SELECT ");
    sql.show(Literal(doc.app.as_str())).push(", ").show(Literal(doc.name.as_str()));
    sql.push(", id, version, ").push(rest).push(")");
}

fn audit(sql: &mut Statement, doc: &DocModel, action: &str, author: Author<'_>, user: &str) {
    sql.push(
        ", audit AS (INSERT INTO tenantry.audit \
         (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) SELECT ",
    );
    sql.push(user).push(", ").push(action).push(", ");
    sql.show(Literal(doc.app.as_str())).push(", ").show(Literal(doc.name.as_str())).push(", id, version, ");
    sql.bind(Some(author.request), "text").push(", ").bind(author.client, "text").push(", ");
}
