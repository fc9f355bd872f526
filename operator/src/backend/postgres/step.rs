//! Changes that need a look at the rows that are there, or take as long as there are rows. One by one, each idempotent, after
//! the transaction that makes everything else; `step_sql` says them in SQL.

use std::fmt;

use tenantry_crds::{
    definition::Migration,
    names::{AppName, TableName},
};
use tenantry_migrations::layout::{Column, ForeignKey, Index, SqlType};

/// A change of a table that holds rows, or of the rows themselves.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A column takes more values than before.
    Widen(Retyping),
    /// SQL of an app.
    Migrate(AppName, Migration),
    /// A column takes fewer values than before; somebody acknowledged it.
    Narrow(Retyping),
    /// An index that is built while the table is read and written.
    BuildIndex {
        /// The table.
        table: TableName,
        /// The index.
        index: Index,
        /// An attempt that did not end left an invalid one.
        leftover: bool,
    },
    /// The texts that a column allows.
    Check(TableName, Column),
    /// A foreign key.
    Reference {
        /// The table.
        table: TableName,
        /// The key.
        key: ForeignKey,
        /// It is there, and rows from before it were not looked at.
        in_place: bool,
        /// One that does something else when a document is deleted makes way for it.
        replaces: bool,
    },
    /// A column must have a value from now on.
    Require(TableName, Column),
}

/// Another type for a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Retyping {
    /// The table.
    pub table: TableName,
    /// The column as it should be.
    pub column: Column,
    /// What it is.
    pub from: SqlType,
    /// Whether the table is written anew while its traffic waits.
    pub rewrites: bool,
}

impl Step {
    /// Steps run in this order: what makes room, then the apps' SQL that may use it, then what asks more of the rows. What
    /// traffic of the old version meets soonest comes last.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Widen(_) => 0,
            Self::Migrate(..) => 1,
            Self::Narrow(_) => 2,
            Self::BuildIndex { .. } => 3,
            Self::Check(..) => 4,
            Self::Reference { .. } => 5,
            Self::Require(..) => 6,
        }
    }

    /// The table that has to be known to be empty for the step to be needless; none for what is needed in any case.
    pub fn table(&self) -> Option<&TableName> {
        match self {
            Self::Widen(_) | Self::Narrow(_) | Self::Migrate(..) => None,
            Self::BuildIndex { table, .. }
            | Self::Check(table, _)
            | Self::Reference { table, .. }
            | Self::Require(table, _) => Some(table),
        }
    }
}

/// For people: what is under way.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Widen(Retyping { table, column, .. }) | Self::Narrow(Retyping { table, column, .. }) => {
                write!(f, "{table}.{} becomes {}", column.name, column.sql_type)
            }
            Self::Migrate(app, migration) => write!(f, "migration {app}/{}", migration.name),
            Self::BuildIndex { index, .. } => write!(f, "index {}", index.name),
            Self::Check(table, column) => write!(f, "the values of {table}.{}", column.name),
            Self::Reference { table, key, .. } => write!(f, "the references of {table}.{}", key.column),
            Self::Require(table, column) => write!(f, "{table}.{} becomes required", column.name),
        }
    }
}
