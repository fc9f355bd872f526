//! The SQL of a [`Step`]. It runs in a session that has the tenant's owner role and nothing else: a table of a tenant may
//! have checks, policies and triggers that an app's SQL put there, and whoever looks at its rows runs them.

use tenantry_crds::names::{RelationKind, RelationName, TableName};
use tenantry_migrations::{
    layout::SqlType,
    sql::{Ident, Literal},
};

use super::{
    change::Identity,
    ddl::{check, default_text, foreign_key},
    step::{Retyping, Step},
};

/// A statement of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// How long it may take.
    pub pace: Pace,
}

/// How long a statement may take, and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It needs the table for itself, for a moment: it gives up its place in the queue soon, since all traffic waits behind it.
    Brief,
    /// It goes on beside the traffic, for as long as there are rows, and may wait for other transactions to end.
    Beside,
}

/// A count of rows that stand in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Counts them.
    pub sql: String,
    /// What is wrong with them and what to do, to follow the number.
    pub problem: String,
}

impl Retyping {
    /// The bytes of the table.
    pub fn size(&self, tenant: &Identity) -> String {
        let table = path(tenant, &self.table);
        format!("SELECT pg_catalog.pg_table_size({}::pg_catalog.regclass)", Literal(&table))
    }
}

impl Step {
    /// What has to be true of the rows first.
    pub fn probe(&self, tenant: &Identity) -> Option<Probe> {
        let rows = |table: &TableName, condition: String, problem: String| Probe {
            sql: format!("SELECT pg_catalog.count(*) FROM {} WHERE {condition}", path(tenant, table)),
            problem,
        };
        match self {
            Self::Widen(_) | Self::Migrate(..) => None,
            Self::Narrow(change) => {
                let column = Ident(&change.column.name).to_string();
                let problem =
                    format!("hold a value that does not fit {}; change them", change.column.sql_type);
                Some(rows(&change.table, misfit(&column, change.from, change.column.sql_type), problem))
            }
            Self::BuildIndex { table, index, .. } if index.unique => {
                let (column, table) = (Ident(&index.column), path(tenant, table));
                Some(Probe {
                    sql: format!(
                        "SELECT coalesce(pg_catalog.sum(n), 0)::bigint FROM (SELECT pg_catalog.count(*) AS n FROM {table} \
                         WHERE {column} IS NOT NULL GROUP BY {column} HAVING pg_catalog.count(*) > 1) AS equal"
                    ),
                    problem: "share their value with another, and the field becomes unique; change them"
                        .to_owned(),
                })
            }
            Self::BuildIndex { .. } => None,
            Self::Check(table, column) => {
                let values = column.one_of.as_deref().unwrap_or_default();
                let list: Vec<String> = values.iter().map(|value| Literal(value).to_string()).collect();
                let name = Ident(&column.name);
                let condition = format!("{name} <> ALL (ARRAY[{}]::text[])", list.join(", "));
                let problem =
                    "hold a value that the definition does not allow any more; change them".to_owned();
                Some(rows(table, condition, problem))
            }
            Self::Reference { table, key, .. } => {
                let (column, target) = (Ident(&key.column), path(tenant, &key.target));
                let condition = format!(
                    "{column} IS NOT NULL AND NOT EXISTS (SELECT FROM {target} AS target WHERE target.id = {column})"
                );
                let problem = format!("refer to a document that {} does not have; change them", key.target);
                Some(rows(table, condition, problem))
            }
            Self::Require(table, column) => {
                let condition = format!("{} IS NULL", Ident(&column.name));
                let problem =
                    "have no value, and the field becomes required; fill them, or give the field a default"
                        .to_owned();
                Some(rows(table, condition, problem))
            }
        }
    }

    /// What the probe is about, as `crm_customer.email`.
    pub fn place(&self) -> String {
        let of = |table: &TableName, column: &str| format!("{table}.{column}");
        match self {
            Self::Widen(change) | Self::Narrow(change) => of(&change.table, &change.column.name),
            Self::Migrate(app, migration) => format!("{app}/{}", migration.name),
            Self::BuildIndex { table, index, .. } => of(table, &index.column),
            Self::Check(table, column) | Self::Require(table, column) => of(table, &column.name),
            Self::Reference { table, key, .. } => of(table, &key.column),
        }
    }

    /// What carries it out. Nothing for a migration, which has a way of its own.
    pub fn statements(&self, tenant: &Identity) -> Vec<Statement> {
        let brief = |sql: String| Statement { sql, pace: Pace::Brief };
        let beside = |sql: String| Statement { sql, pace: Pace::Beside };
        match self {
            Self::Widen(change) | Self::Narrow(change) => vec![brief(retype(tenant, change))],
            Self::Migrate(..) => Vec::new(),
            Self::BuildIndex { table, index, leftover } => {
                let mut statements = Vec::new();
                if *leftover {
                    statements.push(beside(drop_index(tenant, &index.name)));
                }
                let unique = if index.unique { "UNIQUE " } else { "" };
                statements.push(beside(format!(
                    "CREATE {unique}INDEX CONCURRENTLY {} ON {} ({})",
                    Ident(index.name.as_str()),
                    path(tenant, table),
                    Ident(&index.column)
                )));
                statements
            }
            Self::Check(table, column) => {
                let (table, name) =
                    (path(tenant, table), RelationName::of(table, &column.name, RelationKind::Check));
                let (constraint, check) = (Ident(name.as_str()), check(&name, column));
                vec![
                    brief(format!(
                        "ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}, ADD{check} NOT VALID"
                    )),
                    beside(validate(&table, &name)),
                ]
            }
            Self::Reference { table, key, in_place, replaces } => {
                let path = path(tenant, table);
                let mut statements = Vec::new();
                if !in_place {
                    let constraint = foreign_key(Ident(tenant.schema.as_str()), key);
                    let drop = replaces.then(|| format!("DROP CONSTRAINT {}, ", Ident(key.name.as_str())));
                    let drop = drop.unwrap_or_default();
                    statements.push(brief(format!("ALTER TABLE {path} {drop}ADD {constraint} NOT VALID")));
                }
                statements.push(beside(validate(&path, &key.name)));
                statements
            }
            Self::Require(table, column) => require(tenant, table, &column.name),
        }
    }

    /// What takes back the half of a step whose rows turned out not to fit after all.
    pub fn undo(&self, tenant: &Identity) -> Option<Statement> {
        match self {
            Self::BuildIndex { index, .. } => {
                Some(Statement { sql: drop_index(tenant, &index.name), pace: Pace::Beside })
            }
            Self::Require(table, column) => {
                let name = RelationName::of(table, &column.name, RelationKind::Required);
                let table = path(tenant, table);
                let sql = format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {}", Ident(name.as_str()));
                Some(Statement { sql, pace: Pace::Brief })
            }
            _ => None,
        }
    }
}

/// A check that is valid spares SET NOT NULL its own look at the rows, for which traffic would wait.
fn require(tenant: &Identity, table: &TableName, column: &str) -> Vec<Statement> {
    let name = RelationName::of(table, column, RelationKind::Required);
    let (table, column, constraint) = (path(tenant, table), Ident(column), Ident(name.as_str()));
    let brief = |sql: String| Statement { sql, pace: Pace::Brief };
    vec![
        brief(format!(
            "ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {constraint}, \
             ADD CONSTRAINT {constraint} CHECK ({column} IS NOT NULL) NOT VALID"
        )),
        Statement { sql: validate(&table, &name), pace: Pace::Beside },
        brief(format!(
            "ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL; ALTER TABLE {table} DROP CONSTRAINT {constraint}"
        )),
    ]
}

fn retype(tenant: &Identity, change: &Retyping) -> String {
    let Retyping { table, column, .. } = change;
    let (table, name, wanted) = (path(tenant, table), Ident(&column.name), column.sql_type);
    // A default is of the old type, and Postgres does not always know its way to the new one.
    let default = column
        .default
        .as_ref()
        .map(|value| format!(", ALTER COLUMN {name} SET DEFAULT {}", default_text(value)));
    format!(
        "ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT, ALTER COLUMN {name} TYPE {wanted} USING {name}::{wanted}{}",
        default.unwrap_or_default()
    )
}

fn drop_index(tenant: &Identity, name: &RelationName) -> String {
    let schema = Ident(tenant.schema.as_str());
    format!("DROP INDEX CONCURRENTLY IF EXISTS {schema}.{}", Ident(name.as_str()))
}

fn validate(table: &str, name: &RelationName) -> String {
    format!("ALTER TABLE {table} VALIDATE CONSTRAINT {}", Ident(name.as_str()))
}

fn path(tenant: &Identity, table: &TableName) -> String {
    format!("{}.{}", Ident(tenant.schema.as_str()), Ident(table.as_str()))
}

/// The rows whose value is lost or changed when `column` becomes `wanted`.
fn misfit(column: &str, from: SqlType, wanted: SqlType) -> String {
    let invalid = format!("NOT pg_catalog.pg_input_is_valid({column}::text, '{wanted}')");
    let number = format!("{column}::numeric");
    let whole = format!("{number} <> pg_catalog.trunc({number})");
    let beyond = match wanted {
        SqlType::Integer => format!("{whole} OR {number} NOT BETWEEN {} AND {}", i32::MIN, i32::MAX),
        SqlType::BigInt => format!("{whole} OR {number} NOT BETWEEN {} AND {}", i64::MIN, i64::MAX),
        SqlType::Numeric { precision, scale } => format!(
            "{number} <> pg_catalog.round({number}, {scale}) OR pg_catalog.abs({number}) >= 1e{}",
            precision.saturating_sub(scale)
        ),
        SqlType::Double => format!("{number} <> {number}::double precision::numeric"),
        _ => return format!("{column} IS NOT NULL AND {invalid}"),
    };
    if from == SqlType::Text {
        let readable = format!("pg_catalog.pg_input_is_valid({column}, 'numeric')");
        format!("{column} IS NOT NULL AND CASE WHEN {readable} THEN {invalid} OR {beyond} ELSE true END")
    } else {
        format!("{column} IS NOT NULL AND ({beyond})")
    }
}

#[cfg(test)]
#[path = "step_sql_tests.rs"]
mod tests;
