//! A document with its event and its audit row, in one statement.
//!
//! The row is stored by a common table expression whose result feeds the outbox, the audit, the history and the answer that is
//! kept, so there is no way to write one without the others, and no second trip.

use tenantry_crds::definition::{Naming, SeriesPattern};
use tenantry_migrations::{
    layout::{COUNTER_ROW, SqlType},
    sql::{Ident, Literal},
};

use super::{
    answer::Answer,
    cascade, predicate,
    statement::{Statement, array},
    which::{Which, result_of},
};
use crate::{
    auth::control,
    data::{
        id::DocumentId,
        model::{ColumnModel, Consequences, DocModel},
        permit::{Allowed, Condition, Referred, Rights, Tested},
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
    /// The trace that the request belongs to, for whoever acts on the event.
    pub trace: Option<&'a str>,
    /// Whether people are told what becomes of their accounts.
    pub told: bool,
}

/// How a write goes on once the row is stored.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Who writes.
    pub author: Author<'a>,
    /// What the caller may do.
    pub rights: &'a Rights<'a>,
    /// What it yields.
    pub answer: Answer<'a>,
    /// It is one of several that happen together: when it meets no document, none happens.
    pub together: bool,
    /// Later statements of its group refer to the document as the result of this number.
    pub result: Option<usize>,
    /// The answer is kept.
    pub kept: Option<Kept<'a>>,
}

/// Under what an answer is kept.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a> {
    /// The digest of the caller, the route and the caller's key.
    pub id: &'a str,
    /// The digest of what was asked.
    pub asked: &'a str,
    /// Which of the answers, where a request has several.
    pub part: usize,
}

/// The id of a new document.
#[derive(Debug)]
pub enum NewId {
    /// Known before.
    Given(DocumentId),
    /// The next one of the type's series.
    Series,
}

/// Which versions of a document may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// Whichever is there.
    Any,
    /// One of these.
    OneOf(Vec<i64>),
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
        /// What must hold for the document before. When it does not, nothing of the group is written.
        before: &'a Allowed,
        /// What must hold for it then.
        after: &'a Condition<String>,
    },
}

/// Stores a new document; when `check` does not hold for it, nothing of the group is written.
pub fn insert(
    doc: &DocModel,
    id: &NewId,
    values: &Values,
    (check, conflict): (&Condition<String>, Option<Conflict<'_>>),
    write: Write<'_>,
) -> Bound {
    let mut sql = Statement::new("WITH ");
    let counter = match (id, &doc.naming) {
        (NewId::Series, Naming::Gapless(_)) => doc.side.counter.as_ref(),
        _ => None,
    };
    if let Some(counter) = counter {
        count_up(&mut sql, doc, counter.as_str());
    }
    let user = sql.keep(Some(write.author.user), "text");
    let settings = settings(&mut sql, doc, values, false);
    sql.push("stored AS (INSERT INTO ").table(doc).push(" AS kept (\"id\"");
    for (column, _) in &settings {
        sql.push(", ").ident(&column.name);
    }
    sql.push(", \"created_by\", \"updated_by\") SELECT ");
    match (id, &doc.naming) {
        (NewId::Given(id), _) => drop(sql.bind(Some(id.as_str()), &doc.id_type().to_string())),
        (NewId::Series, Naming::Series(pattern)) => series(&mut sql, doc, pattern),
        (NewId::Series, Naming::Gapless(pattern)) if counter.is_some() => number(&mut sql, pattern, |sql| {
            sql.push("(SELECT \"last\" AS n FROM number) AS counted");
        }),
        // A type without a series has no number to give; the primary key refuses the row.
        (NewId::Series, _) => drop(sql.push("NULL")),
    }
    for (_, value) in &settings {
        sql.push(", ").push(value);
    }
    sql.push(", ").push(&user).push(", ").push(&user);
    if *check != Condition::Always {
        sql.push(" WHERE tenantry.required(");
        // Of a new document every column is known: what is not set is NULL.
        condition_of(&mut sql, check, &settings, &user, &|sql, column| match column.name.as_str() {
            "created_by" => drop(sql.push(&user)),
            "created_at" => drop(sql.push("now()")),
            _ => drop(sql.push("NULL::").push(column.cast)),
        });
        sql.push(")");
    } else if conflict.is_some() {
        // Else ON would be taken for the condition of a join.
        sql.push(" WHERE true");
    }
    if let Some(conflict) = conflict {
        on_conflict(&mut sql, doc, conflict, &user);
    }
    returning(&mut sql, doc);
    let action = match conflict {
        None => "'Create'",
        // Only a document that was there before has another version.
        Some(_) => "CASE WHEN version = 1 THEN 'Create' ELSE 'Update' END",
    };
    journal(&mut sql, doc, (action, Told::Document), &user, write);
    if conflict.is_some() {
        accounts(&mut sql, doc, control::CHANGED, &user, write.author);
    }
    write.answer.write(&mut sql, None, &write);
    sql.finish()
}

fn on_conflict(sql: &mut Statement, doc: &DocModel, conflict: Conflict<'_>, user: &str) {
    sql.push(" ON CONFLICT (").ident(conflict.column).push(") DO ");
    let Then::Merge { columns, before, after } = conflict.then else {
        sql.push("NOTHING");
        return;
    };
    sql.push("UPDATE SET \"version\" = kept.\"version\" + 1, \"updated_at\" = now(), ");
    sql.push("\"updated_by\" = EXCLUDED.\"updated_by\"");
    let columns: Vec<&ColumnModel> = columns.iter().filter_map(|n| doc.columns.get(*n)).collect();
    for column in &columns {
        sql.push(", ").ident(&column.name).push(" = EXCLUDED.").ident(&column.name);
    }
    if *before == Allowed::All && *after == Condition::Always {
        return;
    }
    sql.push(" WHERE tenantry.required((");
    // Qualified, since a name here could be one of the new row, too.
    let old = |sql: &mut Statement, column: &Tested| {
        sql.push("kept.").ident(&column.name);
    };
    predicate::rules_of(sql, before, &old);
    sql.push(") AND (");
    let settings: Vec<(&ColumnModel, String)> =
        columns.into_iter().map(|column| (column, format!("EXCLUDED.{}", Ident(&column.name)))).collect();
    condition_of(sql, after, &settings, user, &old);
    sql.push("))");
}

/// A condition on what a document will be: `settings` are set, `other` writes the columns that are not.
fn condition_of(
    sql: &mut Statement,
    condition: &Condition<String>,
    settings: &[(&ColumnModel, String)],
    user: &str,
    other: &dyn Fn(&mut Statement, &Tested),
) {
    predicate::condition(sql, condition, &|sql, column| {
        let set = settings.iter().find(|(set, _)| set.name == column.name);
        match (set, column.name.as_str()) {
            (Some((_, value)), _) => drop(sql.push(value)),
            (None, "updated_by") => drop(sql.push(user)),
            (None, "updated_at") => drop(sql.push("now()")),
            (None, _) => other(sql, column),
        }
    });
}

/// Changes documents: those that `before`, `version` and `after` all admit. `before` must hold for what is there, `after` once `values` are set.
pub fn update(
    doc: &DocModel,
    which: Which<'_>,
    values: &Values,
    version: &Version,
    (before, after): (&Allowed, &Condition<String>),
    write: Write<'_>,
) -> Bound {
    let mut sql = Statement::new("WITH ");
    let user = sql.keep(Some(write.author.user), "text");
    let settings = settings(&mut sql, doc, values, true);
    sql.push("stored AS (UPDATE ").table(doc);
    sql.push(" SET \"version\" = \"version\" + 1, \"updated_at\" = now(), \"updated_by\" = ").push(&user);
    for (column, value) in &settings {
        sql.push(", ").ident(&column.name).push(" = ").push(value);
    }
    which.write(&mut sql, doc);
    predicate::and_rules(&mut sql, before);
    let changed = |column: &Tested| settings.iter().any(|(set, _)| set.name == column.name);
    if after.columns().iter().any(|column| changed(column) || column.name.starts_with("updated_")) {
        sql.push(" AND ");
        condition_of(&mut sql, after, &settings, &user, &predicate::own);
    }
    and_version(&mut sql, version);
    returning(&mut sql, doc);
    let set: Vec<&ColumnModel> = settings.iter().map(|(column, _)| *column).collect();
    journal(&mut sql, doc, ("'Update'", Told::Columns(&set)), &user, write);
    accounts(&mut sql, doc, control::CHANGED, &user, write.author);
    write.answer.write(&mut sql, Some(which), &write);
    sql.finish()
}

/// Brings back a document that was only marked as deleted.
pub fn restore(doc: &DocModel, which: Which<'_>, allowed: &Allowed, write: Write<'_>) -> Bound {
    let mut sql = Statement::new("WITH ");
    let user = sql.keep(Some(write.author.user), "text");
    sql.push("stored AS (UPDATE ").table(doc);
    sql.push(" SET \"version\" = \"version\" + 1, \"updated_at\" = now(), \"deleted_at\" = NULL, \"updated_by\" = ");
    sql.push(&user);
    which.write(&mut sql, doc);
    sql.push(" AND \"deleted_at\" IS NOT NULL");
    predicate::and_rules(&mut sql, allowed);
    returning(&mut sql, doc);
    journal(&mut sql, doc, ("'Update'", Told::Restored), &user, write);
    write.answer.write(&mut sql, Some(which), &write);
    sql.finish()
}

/// How documents are deleted.
#[derive(Debug, Clone, Copy)]
pub enum Deletion<'a> {
    /// They are only marked.
    Mark,
    /// They go, with these consequences.
    Purge(&'a Consequences<'a>),
}

/// Deletes documents: those that `allowed` and `version` admit.
pub fn delete(
    doc: &DocModel,
    which: Which<'_>,
    version: &Version,
    allowed: &Allowed,
    deletion: Deletion<'_>,
    write: Write<'_>,
) -> Bound {
    let mut sql = Statement::new("WITH RECURSIVE ");
    let user = sql.keep(Some(write.author.user), "text");
    let meant = |sql: &mut Statement| {
        which.write(sql, doc);
        predicate::and_rules(sql, allowed);
        and_version(sql, version);
    };
    match deletion {
        Deletion::Mark => {
            sql.push("stored AS (UPDATE ").table(doc);
            sql.push(" SET \"version\" = \"version\" + 1, \"updated_at\" = now(), \"deleted_at\" = now(), ");
            sql.push("\"updated_by\" = ").push(&user);
            meant(&mut sql);
        }
        Deletion::Purge(consequences) if consequences.is_empty() => {
            sql.push("stored AS (DELETE FROM ").table(doc);
            meant(&mut sql);
        }
        Deletion::Purge(consequences) => {
            sql.push("root AS (SELECT \"id\" FROM ").table(doc);
            meant(&mut sql);
            sql.push(" FOR UPDATE)");
            cascade::doomed(&mut sql, doc, consequences);
            sql.push(", stored AS (DELETE FROM ")
                .table(doc)
                .push(" WHERE \"id\" IN (SELECT \"id\" FROM root)");
        }
    }
    returning(&mut sql, doc);
    // One more than the last version that readers of events may have seen.
    let next = if matches!(deletion, Deletion::Mark) { "" } else { " + 1" };
    sql.push(&format!(", made AS (SELECT stored.\"id\"::text AS id, stored.\"version\"{next} AS version, "));
    if doc.side.history.is_some() {
        sql.push("row_to_json(shown) AS body FROM stored CROSS JOIN LATERAL (SELECT ");
        json_forms(&mut sql, doc, "stored");
        sql.push(") AS shown)");
    } else {
        sql.push("NULL::json AS body FROM stored)");
    }
    sql.push(", event AS (");
    event(&mut sql, doc, write.author, "'Delete', NULL::json FROM made");
    audit(&mut sql, doc, "audit", "'Delete'", write.author, &user);
    sql.push("NULL::json FROM made)");
    history(&mut sql, doc, "version", "'Delete'", &user, "made");
    if let Deletion::Purge(consequences) = deletion
        && !consequences.is_empty()
    {
        cascade::carry_out(&mut sql, doc, consequences, write.author, &user);
    }
    accounts(&mut sql, doc, control::GONE, &user, write.author);
    write.answer.write(&mut sql, Some(which), &write);
    sql.finish()
}

/// The values that are set, each with its column, as they stand in SQL. Where there is a document already (`stays`), a reference
/// may stay as it is.
fn settings<'a>(
    sql: &mut Statement,
    doc: &'a DocModel,
    values: &Values,
    stays: bool,
) -> Vec<(&'a ColumnModel, String)> {
    let given = values.columns.iter().filter_map(|(n, value)| {
        let column = doc.columns.get(*n)?;
        let set = sql.keep(value.as_deref(), column.cast());
        let referred = values.referred.iter().find(|referred| referred.column == *n && value.is_some());
        Some(match referred {
            Some(referred) => (column, known(sql, column, &set, referred, stays)),
            None => (column, set),
        })
    });
    let mut settings: Vec<_> = given.collect();
    settings.extend(values.results.iter().filter_map(|(n, result)| {
        let column = doc.columns.get(*n)?;
        Some((column, result_of(*result, column.cast())))
    }));
    settings
}

/// The reference `set`, if the writer may read what it leads to. Else the statement fails as if there were no such document.
fn known(sql: &mut Statement, column: &ColumnModel, set: &str, referred: &Referred, stays: bool) -> String {
    let (name, cast) = (format!("known_{}", referred.column), column.cast());
    sql.push(&name)
        .push(" AS (SELECT FROM ")
        .table(&referred.target)
        .push(" AS referred WHERE referred.\"id\" = ");
    sql.push(set).push(" AND (");
    predicate::rules_of(sql, &referred.visible, &|sql, column| {
        sql.push("referred.").ident(&column.name);
    });
    sql.push(")), ");
    let same = match stays {
        true => format!("{} IS NOT DISTINCT FROM {set} OR ", Ident(&column.name)),
        false => String::new(),
    };
    let unknown = Literal(&referred.constraint);
    format!(
        "CASE WHEN {same}EXISTS (SELECT FROM {name}) THEN {set} ELSE tenantry.no_document({unknown})::{cast} END"
    )
}

fn and_version(sql: &mut Statement, version: &Version) {
    if let Version::OneOf(versions) = version {
        let versions: Vec<String> = versions.iter().map(i64::to_string).collect();
        let versions = array(versions.iter().map(String::as_str));
        sql.push(" AND \"version\" = ANY (").bind(Some(&versions), "bigint[]").push(")");
    }
}

/// The next number of a series that leaves none out. The row is locked until the transaction ends; one that fails takes its number
/// back. A series that had gaps before goes on after its highest number.
fn count_up(sql: &mut Statement, doc: &DocModel, counter: &str) {
    let row = Literal(COUNTER_ROW).to_string();
    sql.push("number AS (INSERT INTO ")
        .qualified(counter)
        .push(" AS counter (\"id\", \"last\") VALUES (")
        .push(&row);
    sql.push(", CASE WHEN EXISTS (SELECT FROM ")
        .qualified(counter)
        .push(") THEN 0 ELSE 1 + coalesce((SELECT max(");
    sql.push("substring(\"id\" FROM '[0-9]{1,18}$')::bigint) FROM ").table(doc).push("), 0) END) ");
    sql.push("ON CONFLICT (\"id\") DO UPDATE SET \"last\" = counter.\"last\" + 1 RETURNING \"last\"), ");
}

fn series(sql: &mut Statement, doc: &DocModel, pattern: &SeriesPattern) {
    let Some(name) = &doc.series else {
        sql.push("NULL");
        return;
    };
    // The quoted names of the schema and the sequence, inside of a literal: neither can hold a quote of either kind.
    number(sql, pattern, |sql| {
        sql.push("nextval('").schema().push(".").ident(name.as_str()).push("'::regclass) AS n");
    });
}

/// `prefix` and a number with at least as many digits as the pattern has.
fn number(sql: &mut Statement, pattern: &SeriesPattern, from: impl FnOnce(&mut Statement)) {
    let digits = pattern.digits;
    sql.push("(SELECT ").show(Literal(&pattern.prefix));
    sql.push(&format!(" || lpad(n::text, greatest({digits}, length(n::text)), '0') FROM "));
    from(sql);
    sql.push(")");
}

/// What goes with accounts of which somebody else may have the control by now.
fn accounts(sql: &mut Statement, doc: &DocModel, control: &str, user: &str, author: Author<'_>) {
    if !doc.is_account() {
        return;
    }
    let request = sql.keep(Some(author.request), "text");
    let client = sql.keep(author.client, "text");
    let told = if author.told { "true" } else { "false" };
    let places = control::Places { actor: user, request: &request, client: &client, session: "NULL", told };
    let text = format!(", {control}{}", control::taken_along(places));
    let mut parts = text.split("{schema}");
    sql.push(parts.next().unwrap_or_default());
    for part in parts {
        sql.schema().push(part);
    }
}

/// All columns: rules may compare one that no answer shows.
fn returning(sql: &mut Statement, doc: &DocModel) {
    sql.push(" RETURNING ").columns(&doc.columns).push(")");
}

/// What the audit row of a write has of the document: as it is stored, like the event and the answer.
#[derive(Debug, Clone, Copy)]
enum Told<'a> {
    /// All of it.
    Document,
    /// These columns.
    Columns(&'a [&'a ColumnModel]),
    /// That it is not deleted any more.
    Restored,
}

/// The event, the audit row and the version of `stored`.
fn journal(
    sql: &mut Statement,
    doc: &DocModel,
    (action, told): (&str, Told<'_>),
    user: &str,
    write: Write<'_>,
) {
    let changes = match told {
        Told::Document => "row_to_json(shown)",
        Told::Columns(_) => "row_to_json(changed)",
        Told::Restored => "'{\"deleted_at\":null}'::json",
    };
    sql.push(", made AS (SELECT stored.\"id\"::text AS id, stored.\"version\" AS version, row_to_json(shown) AS body, ");
    sql.push(changes).push(" AS changes FROM stored CROSS JOIN LATERAL (SELECT ");
    json_forms(sql, doc, "stored");
    sql.push(") AS shown");
    if let Told::Columns(columns) = told {
        sql.push(" CROSS JOIN LATERAL (SELECT ");
        told_forms(sql, columns, "stored");
        sql.push(") AS changed");
    }
    sql.push("), event AS (");
    event(sql, doc, write.author, "'Put', body FROM made");
    audit(sql, doc, "audit", action, write.author, user);
    sql.push("changes FROM made)");
    history(sql, doc, "version", action, user, "made");
}

/// The members of a document's JSON, of the row `of`.
pub(super) fn json_forms(sql: &mut Statement, doc: &DocModel, of: &str) {
    for (n, column) in doc.columns.iter().filter(|column| column.is_readable()).enumerate() {
        sql.push(if n > 0 { ", " } else { "" });
        json_form(sql, column, of);
        sql.push(" AS ").ident(&column.name);
    }
}

/// The same of `columns` alone. Of one that no answer shows it is told that it was set.
fn told_forms(sql: &mut Statement, columns: &[&ColumnModel], of: &str) {
    for (n, column) in columns.iter().enumerate() {
        sql.push(if n > 0 { ", " } else { "" });
        if column.is_readable() {
            json_form(sql, column, of);
        } else {
            sql.push("CASE WHEN ").push(of).push(".").ident(&column.name).push(" IS NOT NULL THEN '***' END");
        }
        sql.push(" AS ").ident(&column.name);
    }
}

/// A column of the row `of` such that `row_to_json` writes what answers show: decimals as text, times in RFC 3339 with a `Z`.
fn json_form(sql: &mut Statement, column: &ColumnModel, of: &str) {
    let name = &column.name;
    match column.sql_type {
        SqlType::Numeric { .. } => sql.push(of).push(".").ident(name).push("::text"),
        SqlType::Timestamptz => {
            sql.push("replace(replace(").push(of).push(".").ident(name).push("::text, ' ', 'T'), '+00', 'Z')")
        }
        _ => sql.push(of).push(".").ident(name),
    };
}

pub(super) fn event(sql: &mut Statement, doc: &DocModel, author: Author<'_>, rest: &str) {
    sql.push("INSERT INTO tenantry.outbox (traceparent, app, doc_type, doc_id, doc_version, operation, body) SELECT ");
    sql.bind(author.trace, "text").push(", ");
    sql.show(Literal(doc.app.as_str())).push(", ").show(Literal(doc.name.as_str()));
    sql.push(", id, version, ").push(rest).push(")");
}

pub(super) fn audit(
    sql: &mut Statement,
    doc: &DocModel,
    name: &str,
    action: &str,
    author: Author<'_>,
    user: &str,
) {
    sql.push(", ").push(name).push(
        " AS (INSERT INTO tenantry.audit \
         (actor, action, app, doc_type, doc_id, doc_version, request_id, client, changes) SELECT ",
    );
    sql.push(user).push(", ").push(action).push(", ");
    sql.show(Literal(doc.app.as_str())).push(", ").show(Literal(doc.name.as_str())).push(", id, version, ");
    sql.bind(Some(author.request), "text").push(", ").bind(author.client, "text").push(", ");
}

pub(super) fn history(sql: &mut Statement, doc: &DocModel, name: &str, action: &str, user: &str, made: &str) {
    let Some(table) = &doc.side.history else { return };
    sql.push(", ").push(name).push(" AS (INSERT INTO ").qualified(table.as_str());
    sql.push(" (\"id\", \"doc_id\", \"doc_version\", \"action\", \"actor\", \"body\") SELECT pg_catalog.gen_random_uuid(), id, version, ");
    sql.push(action).push(", ").push(user).push(", body::jsonb FROM ").push(made).push(")");
}
