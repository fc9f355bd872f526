//! Names of Postgres objects and search indexes.

use sha2::{Digest, Sha256};

use super::{AppName, DocTypeName, POSTGRES_IDENTIFIER_MAX, TenantName};

macro_rules! derived_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub(super) std::sync::Arc<str>);

        impl $name {
            /// The name as text, unquoted.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(super) use derived_name;

derived_name!(
    /// The Postgres schema of a tenant: `tenant_` + name with `-` as `_`.
    SchemaName
);
derived_name!(
    /// The NOLOGIN role that tenant traffic runs as: DML only. Named as the schema.
    TenantRole
);
derived_name!(
    /// The NOLOGIN role that owns a tenant's schema and tables and runs its DDL.
    OwnerRole
);
derived_name!(
    /// The login that changes of a tenant's filled tables and its apps' SQL run as; it exists only while they do.
    MigratorRole
);
derived_name!(
    /// The login that serves a tenant by connections of its own; it exists only while they are the tenant's.
    TrafficLogin
);
derived_name!(
    /// The table of a document type, without its schema: `{app}_{doctype}`.
    TableName
);
derived_name!(
    /// The uid of a dedicated search index: `{tenant}_{app}_{doctype}`.
    IndexUid
);

derived_name!(
    /// An index, unique or foreign key constraint, or sequence of a table.
    RelationName
);

/// What a [`RelationName`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// The primary key. Named by us too: Postgres would call it `{table}_pkey`, which a document type can be called.
    PrimaryKey,
    /// An index that serves filters and orders.
    Index,
    /// A unique index.
    Unique,
    /// A foreign key constraint.
    ForeignKey,
    /// A check constraint.
    Check,
    /// The check that a column has a value, while rows that are there are looked at.
    Required,
    /// The sequence behind a naming series.
    Series,
}

impl RelationKind {
    const fn suffix(self) -> &'static str {
        match self {
            Self::PrimaryKey => "pkey",
            Self::Index => "idx",
            Self::Unique => "key",
            Self::ForeignKey => "fk",
            Self::Check => "check",
            Self::Required => "required",
            Self::Series => "series",
        }
    }
}

impl RelationName {
    /// The name of what belongs to `column` of `table`: `{table}-{column}-{kind}`, which splits uniquely since no column and no
    /// kind holds a `-`. A longer one than Postgres keeps is cut and gets a digest of the whole.
    pub fn of(table: &TableName, column: &str, kind: RelationKind) -> Self {
        Self(fitted(&format!("{table}-{column}"), kind.suffix()).into())
    }
}

impl SchemaName {
    const PREFIX: &str = "tenant_";

    /// Injective: a tenant name has no `_`, so only `a-b` yields `tenant_a_b`.
    pub fn of(tenant: &TenantName) -> Self {
        Self(format!("{}{}", Self::PREFIX, tenant.as_str().replace('-', "_")).into())
    }
}

impl TenantRole {
    /// The DML role of `tenant`.
    pub fn of(tenant: &TenantName) -> Self {
        Self(SchemaName::of(tenant).0)
    }
}

impl OwnerRole {
    const SUFFIX: &str = "_owner";

    /// The owner role of `tenant`.
    ///
    /// Injective only because no tenant name ends in `-owner`: the DML role of `a-owner` would be the owner role of `a`.
    pub fn of(tenant: &TenantName) -> Self {
        Self(format!("{}{}", SchemaName::of(tenant), Self::SUFFIX).into())
    }
}

impl MigratorRole {
    const SUFFIX: &str = "-migrate";

    /// The temporary login of `tenant`. No other role of a tenant holds a `-`.
    pub fn of(tenant: &TenantName) -> Self {
        Self(format!("{}{}", SchemaName::of(tenant), Self::SUFFIX).into())
    }
}

impl TrafficLogin {
    const SUFFIX: &str = "-traffic";

    /// The login that serves `tenant` alone. No other role of a tenant holds a `-`, but for its migrator.
    pub fn of(tenant: &TenantName) -> Self {
        Self(format!("{}{}", SchemaName::of(tenant), Self::SUFFIX).into())
    }

    /// The role that a login of this name is a member of, if it is one of these: the schema's name is the role's.
    pub fn role_of(login: &str) -> Option<&str> {
        login.strip_suffix(Self::SUFFIX).filter(|role| role.starts_with(SchemaName::PREFIX))
    }
}

impl TableName {
    /// Injective: an app name has no `_`, so the table splits at the first one.
    pub fn of(app: &AppName, doc_type: &DocTypeName) -> Self {
        Self(format!("{app}_{doc_type}").into())
    }

    /// A table beside that of a document type: `{app}_{doctype}-{kind}`. No document type holds a `-`.
    pub fn beside(&self, kind: SideTable) -> Self {
        Self(fitted(self.as_str(), kind.suffix()).into())
    }
}

/// A table that a document type has beside its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideTable {
    /// The versions of its documents.
    History,
    /// The last number of its naming series.
    Counter,
}

impl SideTable {
    const fn suffix(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Counter => "counter",
        }
    }
}

/// `{whole}-{suffix}`; a longer one than Postgres keeps is cut and gets a digest of the whole.
fn fitted(whole: &str, suffix: &str) -> String {
    const DIGEST_HEX: usize = 16;
    let name = format!("{whole}-{suffix}");
    if name.len() <= POSTGRES_IDENTIFIER_MAX {
        return name;
    }
    let digest: String =
        Sha256::digest(whole.as_bytes()).iter().take(DIGEST_HEX / 2).map(|b| format!("{b:02x}")).collect();
    let kept = POSTGRES_IDENTIFIER_MAX - DIGEST_HEX - suffix.len() - "~-".len();
    format!("{}~{digest}-{suffix}", &whole[..whole.floor_char_boundary(kept)])
}

impl IndexUid {
    /// The field of an indexed document that is its key, a digest of its id: the engine's keys allow fewer letters than ids do.
    pub const PRIMARY_KEY: &str = "_pk";

    /// Injective: neither tenant nor app holds a `_`. A later build of the same index appends `-N`, which no document
    /// type can end in.
    pub fn of(tenant: &TenantName, app: &AppName, doc_type: &DocTypeName) -> Self {
        Self(format!("{tenant}_{app}_{doc_type}").into())
    }
}

const _: () = assert!(
    SchemaName::PREFIX.len() + TenantName::MAX_LEN + OwnerRole::SUFFIX.len() <= POSTGRES_IDENTIFIER_MAX,
    "Postgres would truncate the owner role and two tenants could share it",
);
const _: () = assert!(
    SchemaName::PREFIX.len() + TenantName::MAX_LEN + MigratorRole::SUFFIX.len() <= POSTGRES_IDENTIFIER_MAX,
    "Postgres would truncate the migrator's name and two tenants could share it",
);
const _: () = assert!(
    SchemaName::PREFIX.len() + TenantName::MAX_LEN + TrafficLogin::SUFFIX.len() <= POSTGRES_IDENTIFIER_MAX,
    "Postgres would truncate the login's name and two tenants could share it",
);
const _: () = assert!(
    AppName::MAX_LEN + 1 + DocTypeName::MAX_LEN <= POSTGRES_IDENTIFIER_MAX,
    "Postgres would truncate the table name and two document types could share it",
);
