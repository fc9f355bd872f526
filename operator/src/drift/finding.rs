//! What drifted, in words and numbers. Pure.

use std::fmt::Write as _;

use crate::{
    backend::{
        postgres::change::{ObjectChange, RoleChange, RowChange},
        redis::Lacking,
        search::Fault,
    },
    tenant::Due,
};

/// Where something drifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Schema, roles, tables or the provisioned state.
    Postgres,
    /// Streams and their groups.
    Redis,
    /// Indexes and their settings.
    Search,
}

impl Backend {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Search => "search",
        }
    }
}

/// One thing that drifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub backend: Backend,
    /// What sort of thing, as the metric's label says it.
    pub kind: &'static str,
    /// The same with its name, for people.
    pub what: String,
    /// What a repair cannot bring back.
    pub lost: Option<&'static str>,
    /// The search index that somebody made anew: its pass has to start it again.
    pub replaced: Option<String>,
}

impl Finding {
    fn new(backend: Backend, kind: &'static str, what: String) -> Self {
        Self { backend, kind, what, lost: None, replaced: None }
    }

    fn losing(self, lost: &'static str) -> Self {
        Self { lost: Some(lost), ..self }
    }

    /// A stream or its group.
    pub fn of_stream(key: &str, lacking: Lacking) -> Self {
        let redis = |kind, what: String| Self::new(Backend::Redis, kind, what);
        match lacking {
            Lacking::Stream => redis("stream", format!("stream {key}")).losing("empty: its jobs are lost"),
            Lacking::Group => redis("group", format!("consumer group of {key}"))
                .losing("from the first entry: jobs may run again"),
            Lacking::Foreign => redis("stream", format!("stream {key}, whose key holds something else")),
        }
    }

    /// A search index.
    pub fn of_index(uid: &str, fault: Fault) -> Self {
        let search = |kind, what: String| Self::new(Backend::Search, kind, what);
        match fault {
            Fault::Missing => {
                search("index", format!("search index {uid}")).losing("empty: it is filled again")
            }
            Fault::Replaced => {
                let what = format!("search index {uid}, which somebody made anew");
                let finding = search("index", what).losing("as new: it is filled again");
                Self { replaced: Some(uid.to_owned()), ..finding }
            }
            Fault::Settings => search("settings", format!("settings of search index {uid}")),
        }
    }
}

/// What of the tenant's part of Postgres is missing where so much is due. What goes with something larger is not
/// named beside it: the columns of a lost table, the tables of a lost schema.
pub fn of(Due { changes, more, .. }: &Due) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        changes.roles.iter().filter_map(|change| of_role(*change, &changes.roles)).collect();
    if !changes.roles.contains(&RoleChange::CreateSchema) {
        // Defaults are set anew with every installation, whatever they were.
        let installs = changes.rows.iter().any(|row| matches!(row, RowChange::InstallApp(..)));
        let created: Vec<&str> = changes.objects.iter().filter_map(created_table).collect();
        let told =
            changes.objects.iter().filter(|c| !(installs && matches!(c, ObjectChange::SetDefault(..))));
        findings.extend(told.filter_map(|change| of_object(change, &created)));
    }
    // Which connections a tenant has follows from what is in its schema: a condition tells that.
    let rows = changes.rows.iter().filter(|row| !matches!(row, RowChange::PutConnections(_))).count();
    match rows {
        0 if *more => findings.push(postgres("registry", "a row of the registry".to_owned())),
        0 => {}
        1 => findings.push(postgres("registry", "1 row of the registry".to_owned())),
        number => findings.push(postgres("registry", format!("{number} rows of the registry"))),
    }
    findings
}

fn postgres(kind: &'static str, what: String) -> Finding {
    Finding::new(Backend::Postgres, kind, what)
}

fn of_role(change: RoleChange, all: &[RoleChange]) -> Option<Finding> {
    let new = |role| all.contains(&role);
    match change {
        RoleChange::CreateOwner => Some(postgres("role", "the owner role".to_owned())),
        RoleChange::CreateRole => Some(postgres("role", "the role of traffic".to_owned())),
        RoleChange::CreateSchema => {
            Some(postgres("schema", "the schema".to_owned()).losing("empty: all documents are lost"))
        }
        RoleChange::OpenJournals if !new(RoleChange::CreateRole) => {
            Some(postgres("membership", "the role's right to the journals".to_owned()))
        }
        RoleChange::AllowTraffic(_) if !new(RoleChange::CreateRole) => {
            Some(postgres("membership", "the traffic login's membership".to_owned()))
        }
        RoleChange::DropMigrator => Some(postgres("role", "a login that a crash left".to_owned())),
        RoleChange::AllowProvisioner if !new(RoleChange::CreateOwner) => {
            Some(postgres("membership", "the provisioner's membership".to_owned()))
        }
        _ => None,
    }
}

fn created_table(change: &ObjectChange) -> Option<&str> {
    match change {
        ObjectChange::CreateTable(layout) => Some(layout.table.as_str()),
        _ => None,
    }
}

fn of_object(change: &ObjectChange, created: &[&str]) -> Option<Finding> {
    let new = |table: &str| created.contains(&table);
    let named = |kind, what: String| Some(postgres(kind, what));
    match change {
        ObjectChange::CreateTable(layout) => {
            Some(postgres("table", format!("table {}", layout.table)).losing("empty: its rows are lost"))
        }
        ObjectChange::ContinueSequence(_, name) => named("sequence", format!("sequence {name}")),
        ObjectChange::AddColumn(table, column) => {
            let column = postgres("column", format!("column {table}.{}", column.name));
            Some(column.losing("empty: its values are lost"))
        }
        ObjectChange::CreateIndex(table, index) if !new(table.as_str()) => {
            named("index", format!("index {}", index.name))
        }
        ObjectChange::DropIndex(name) => named("index", format!("index {name}, which is not declared")),
        ObjectChange::AddForeignKey(table, key) if !new(table.as_str()) => {
            named("constraint", format!("foreign key {}", key.name))
        }
        ObjectChange::ReplaceForeignKey(_, key) => named("constraint", format!("foreign key {}", key.name)),
        ObjectChange::AddPrimaryKey(table) => named("constraint", format!("primary key of {table}")),
        ObjectChange::AddCheck(table, column) | ObjectChange::ReplaceCheck(table, column) => {
            named("constraint", format!("check of {table}.{}", column.name))
        }
        ObjectChange::DropCheck(table, column) | ObjectChange::DropNotNull(table, column) => {
            named("constraint", format!("constraint of {table}.{column}, which is not declared"))
        }
        ObjectChange::DropConstraint(_, name) => {
            named("constraint", format!("constraint {name}, which is not declared"))
        }
        ObjectChange::SetNotNull(table, column) => {
            named("constraint", format!("NOT NULL of {table}.{column}"))
        }
        ObjectChange::SetDefault(table, column) => {
            named("default", format!("default of {table}.{}", column.name))
        }
        ObjectChange::GrantSchema => named("grant", "grant on the schema".to_owned()),
        ObjectChange::GrantTable(table) => named("grant", format!("grants on {table}")),
        ObjectChange::GrantSequence(name) => named("grant", format!("grant on {name}")),
        ObjectChange::DefaultTableGrants => {
            named("default_privileges", "default privileges on tables".to_owned())
        }
        ObjectChange::DefaultSequenceGrants => {
            named("default_privileges", "default privileges on sequences".to_owned())
        }
        ObjectChange::MarkSchema { .. } => named("mark", "ownership mark of the schema".to_owned()),
        _ => None,
    }
}

/// Things named in an Event; the rest is a number.
const NAMED: usize = 10;

/// What was put right, for people.
pub fn note(findings: &[Finding]) -> String {
    let mut note = String::from("found missing or changed, and put right: ");
    for (at, finding) in findings.iter().take(NAMED).enumerate() {
        let separator = if at == 0 { "" } else { "; " };
        let _infallible = write!(note, "{separator}{}", finding.what);
        if let Some(lost) = finding.lost {
            let _infallible = write!(note, " (made again {lost})");
        }
    }
    if findings.len() > NAMED {
        let _infallible = write!(note, "; and {} more", findings.len() - NAMED);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::postgres::observe::Observed,
        tenant::{
            due,
            fixtures::{crm, desired, in_place},
        },
    };

    fn found(without: impl FnOnce(&mut Observed)) -> Vec<(&'static str, String)> {
        let desired = desired(Some(&crm()));
        let mut observed = in_place(&desired);
        without(&mut observed);
        let findings = of(&due(&desired, &observed).unwrap());
        findings.into_iter().map(|finding| (finding.kind, finding.what)).collect()
    }

    fn one(kind: &'static str, what: &str) -> Vec<(&'static str, String)> {
        vec![(kind, what.to_owned())]
    }

    #[test]
    fn what_is_missing_is_named_once_and_what_goes_with_it_is_not() {
        assert!(found(|_| {}).is_empty());
        assert_eq!(found(|o| o.role = None), one("role", "the role of traffic"));
        assert_eq!(found(|o| drop(o.tables.remove("crm_customer"))), one("table", "table crm_customer"));
        let without_schema = found(|o| (o.schema, o.tables) = (None, Default::default()));
        assert_eq!(without_schema, one("schema", "the schema"));
        let column = found(|o| drop(o.tables.get_mut("crm_customer").unwrap().columns.remove("credit")));
        assert_eq!(column, one("column", "column crm_customer.credit"));
        let group = found(|o| o.role.as_mut().unwrap().groups.clear());
        assert_eq!(group, one("membership", "the role's right to the journals"));
        assert_eq!(found(|o| o.apps.clear()), one("registry", "2 rows of the registry"));
    }

    #[test]
    fn a_note_says_what_is_lost_and_has_an_end() {
        let table = |n| postgres("table", format!("table crm_{n}")).losing("empty: its rows are lost");
        let note = note(&(0..100).map(table).collect::<Vec<_>>());
        assert!(note.starts_with(
            "found missing or changed, and put right: table crm_0 (made again empty: its rows are lost); "
        ));
        assert!(note.ends_with("; and 90 more"), "{note}");
        assert!(note.len() < 1024);
    }
}
