//! Migrations: SQL that changes the data of a tenant, once.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::error::DefinitionError;
use crate::v1alpha1::MigrationSpec;

/// A validated migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The name, unique in the app.
    pub name: String,
    /// SHA-256 of the SQL, in hex: a migration that ran never changes.
    pub checksum: String,
    /// The SQL.
    pub sql: String,
}

impl Migration {
    pub(super) fn compile_all(specs: &[MigrationSpec], errors: &mut Vec<DefinitionError>) -> Vec<Self> {
        let mut names = HashSet::new();
        let mut migrations = Vec::with_capacity(specs.len());
        for spec in specs {
            let path = format!("spec.migrations[{}]", spec.name);
            if !is_name(&spec.name) {
                let rule = "name: use at most 63 lower-case letters, digits and inner '_' and '-'";
                errors.push(DefinitionError::new(path, rule));
            } else if !names.insert(&spec.name) {
                errors.push(DefinitionError::new(path, "the name is used twice"));
            } else if spec.sql.contains('\0') {
                // Postgres takes no such text, and says so only tenant by tenant.
                errors.push(DefinitionError::new(path, "sql: holds a NUL"));
            } else {
                let checksum =
                    Sha256::digest(spec.sql.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
                migrations.push(Self { name: spec.name.clone(), checksum, sql: spec.sql.clone() });
            }
        }
        migrations
    }
}

fn is_name(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || matches!(b, b'_' | b'-'))
}
