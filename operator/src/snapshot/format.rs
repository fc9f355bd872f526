//! The files of a snapshot, below `<tenant>/<uid>/`:
//!
//! - `tables/<table>.ndjson`: the rows of a table, one JSON object a line, in the order of the primary key
//! - `apps/<app>.json`: the definition of an app, as it was published
//! - `factors.ndjson`: second factors of users, one JSON object a line; secrets in it are sealed, digests or derived
//! - `tenant.json`: the Tenant, without its status
//! - `manifest.json`: what the others hold. It is written last: without it there is no snapshot.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use tenantry_crds::{names::TenantName, reason::Reason};
use uuid::Uuid;

use crate::error::Error;

/// The version of this layout. A reader refuses any that is newer: it would leave out what it does not know.
pub const FORMAT_VERSION: u32 = 2;
/// The oldest version that is read. Snapshots of it have no second factors and no origin.
const OLDEST_VERSION: u32 = 1;
/// The file that makes a snapshot of the others.
pub const MANIFEST: &str = "manifest.json";
/// The file with second factors.
pub const FACTORS: &str = "factors.ndjson";
/// The file with the Tenant.
pub const TENANT: &str = "tenant.json";

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The tenant's name.
    pub tenant: String,
    /// The uid of its Tenant object.
    pub uid: Uuid,
    /// The uid of the Tenant object that first had the data; this one's, unless it is said.
    #[serde(default)]
    pub origin: Option<Uuid>,
    /// When the tables were read: all of them at one moment.
    pub taken_at: Timestamp,
    /// The Tenant, without its status.
    pub object: File,
    /// Installed and removed apps.
    pub apps: Vec<App>,
    /// Every table of the schema, whoever made it.
    pub tables: Vec<Table>,
    /// Every sequence of the schema.
    pub sequences: Vec<Sequence>,
    /// Second factors of users.
    #[serde(default)]
    pub factors: Option<Factors>,
}

/// Second factors of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factors {
    /// How many there are.
    pub rows: u64,
    /// The file.
    pub file: File,
}

/// A file, relative to the snapshot's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The path.
    pub path: String,
    /// The length.
    pub bytes: u64,
    /// The digest, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// An app of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// The app.
    pub name: String,
    /// The version that the tables are at.
    pub version: String,
    /// The digest of its definition.
    pub digest: String,
    /// `Installed` or `Removed`.
    pub state: String,
    /// The definition.
    pub file: File,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// What it is made of.
    #[serde(flatten)]
    pub structure: TableStructure,
    /// How many rows it has.
    pub rows: u64,
    /// The rows.
    pub file: File,
}

/// What a table is made of, as far as its rows need it; checks, indexes and foreign keys come from the definitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableStructure {
    /// The name, without the schema.
    pub name: String,
    /// The columns, by name. Those that Postgres computes are left out.
    pub columns: Vec<ColumnStructure>,
    /// The primary key's name and columns.
    pub primary_key: Option<PrimaryKey>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnStructure {
    /// The name.
    pub name: String,
    /// The type, as `format_type` writes it.
    #[serde(rename = "type")]
    pub sql_type: String,
    /// It must have a value.
    pub not_null: bool,
}

/// A primary key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryKey {
    /// The constraint.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
}

/// The state of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sequence {
    /// The name, without the schema.
    pub name: String,
    /// The value that was given out last, or that will be first.
    pub last_value: i64,
    /// Whether `last_value` was given out.
    pub is_called: bool,
}

/// A confirmed second factor of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Factor {
    /// The user.
    pub id: Uuid,
    /// From which the authenticator's secret derives, where it is not sealed.
    pub nonce: Uuid,
    /// The authenticator's secret, under a key that no snapshot has.
    pub sealed: Option<String>,
    /// When it was confirmed.
    pub confirmed_at: String,
    /// The step of the last code.
    pub last_step: i64,
    /// Digests of the recovery codes that are left.
    pub recovery: Vec<String>,
    /// When it was made.
    pub created_at: String,
}

impl Manifest {
    /// Every file but the manifest.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        let apps = self.apps.iter().map(|app| &app.file);
        let factors = self.factors.iter().map(|factors| &factors.file);
        let tables = self.tables.iter().map(|table| &table.file);
        std::iter::once(&self.object).chain(apps).chain(factors).chain(tables)
    }

    /// The uid of the Tenant object that first had the data.
    pub fn origin(&self) -> Uuid {
        self.origin.unwrap_or(self.uid)
    }

    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    /// Reads a manifest that was found under `reference`.
    ///
    /// # Errors
    /// When it is of another format, or says that it is of another tenant.
    pub fn read(reference: &Reference, text: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            format_version: u32,
        }
        let refused =
            |why: String| Error::blocked(Reason::SnapshotFailed, format!("snapshot {reference} {why}"));
        let version: Version =
            serde_json::from_slice(text).map_err(Error::data("reading a snapshot's manifest"))?;
        if !(OLDEST_VERSION..=FORMAT_VERSION).contains(&version.format_version) {
            return Err(refused(format!(
                "has format {}, and this release reads formats {OLDEST_VERSION} to {FORMAT_VERSION}",
                version.format_version
            )));
        }
        let manifest: Self =
            serde_json::from_slice(text).map_err(Error::data("reading a snapshot's manifest"))?;
        if manifest.tenant != reference.tenant.as_str() || manifest.uid != reference.uid {
            return Err(refused(format!("says that it is of {}/{}", manifest.tenant, manifest.uid)));
        }
        Ok(manifest)
    }
}

/// Which snapshot: `<tenant>/<uid>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The tenant that it was taken of.
    pub tenant: TenantName,
    /// The uid of its Tenant object.
    pub uid: Uuid,
}

impl Reference {
    /// Reads `spec.restoreFrom.snapshot`.
    ///
    /// # Errors
    /// When it is no name and uid.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong =
            || Error::Invalid(format!("spec.restoreFrom.snapshot: {text} is not of the form TENANT/UID"));
        let (tenant, uid) = text.split_once('/').ok_or_else(wrong)?;
        Ok(Self {
            tenant: TenantName::new(tenant).map_err(|_| wrong())?,
            uid: uid.parse().map_err(|_| wrong())?,
        })
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.tenant, self.uid)
    }
}

/// Whether `text` can only be the name of a type: what stands in a manifest goes into DDL.
pub fn is_type_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || " _(),[]\".".contains(c);
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let clauses =
        ["default", "check", "references", "generated", "constraint", "primary", "unique", "collate"];
    !text.is_empty()
        && text.len() <= 200
        && text.chars().all(allowed)
        && words.into_iter().all(|w| !clauses.contains(&w))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> Reference {
        Reference::parse("acme/00000000-0000-0000-0000-000000000007").unwrap()
    }

    #[test]
    fn a_reference_reads_back() {
        assert_eq!(reference().to_string(), "acme/00000000-0000-0000-0000-000000000007");
        for wrong in ["acme", "acme/7", "../x/00000000-0000-0000-0000-000000000007", "/"] {
            assert!(Reference::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_manifest_is_of_its_own_tenant_and_format() {
        let file = |path: &str| File { path: path.into(), bytes: 2, sha256: "00".into() };
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            tenant: "acme".into(),
            uid: Uuid::from_u128(7),
            origin: Some(Uuid::from_u128(3)),
            taken_at: Timestamp::UNIX_EPOCH,
            object: file(TENANT),
            apps: vec![],
            tables: vec![Table {
                structure: TableStructure { name: "crm_customer".into(), columns: vec![], primary_key: None },
                rows: 3,
                file: file("tables/crm_customer.ndjson"),
            }],
            sequences: vec![],
            factors: Some(Factors { rows: 1, file: file(FACTORS) }),
        };
        let text = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(Manifest::read(&reference(), &text).unwrap(), manifest);
        assert_eq!((manifest.rows(), manifest.bytes()), (3, 6));
        let other = Reference { uid: Uuid::from_u128(8), ..reference() };
        assert!(Manifest::read(&other, &text).is_err());
        let text = String::from_utf8(text).unwrap();
        let newer = text.replace("\"formatVersion\":2", "\"formatVersion\":3");
        let refusal = Manifest::read(&reference(), newer.as_bytes()).unwrap_err().to_string();
        assert!(refusal.contains("has format 3"), "{refusal}");
    }

    #[test]
    fn a_manifest_of_the_first_format_is_read_as_of_its_own_origin() {
        let text = r#"{"formatVersion": 1, "tenant": "acme", "uid": "00000000-0000-0000-0000-000000000007",
            "takenAt": "2026-01-01T00:00:00Z", "object": {"path": "tenant.json", "bytes": 2, "sha256": "00"},
            "apps": [], "tables": [], "sequences": []}"#;
        let manifest = Manifest::read(&reference(), text.as_bytes()).unwrap();
        assert_eq!((manifest.origin(), &manifest.factors), (Uuid::from_u128(7), &None));
    }

    #[test]
    fn a_type_is_only_a_type() {
        for fine in ["uuid", "numeric(18,2)", "timestamp with time zone", "text[]", "tenant_a.\"mood\""] {
            assert!(is_type_name(fine), "{fine}");
        }
        for wrong in
            ["", "text; DROP TABLE x", "text default 'a'", "int check (x)", "text -- x", "int references a"]
        {
            assert!(!is_type_name(wrong), "{wrong}");
        }
    }
}
