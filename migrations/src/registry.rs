//! The provisioned state as typed records: rows of schema `tenantry` that both programs share.
//!
//! Only reads are here. The operator writes these rows inside the transaction that makes what they describe.

use serde::Deserialize;
use serde_json::Value;
use sqlx::{FromRow, PgExecutor};
use tenantry_crds::names::InstanceName;
use uuid::Uuid;

/// A row of `tenantry.tenant`, with its hosts.
#[derive(Debug, Clone, PartialEq, FromRow, Deserialize)]
pub struct TenantRecord {
    /// The tenant's name.
    pub name: String,
    /// The uid of the Tenant object.
    pub uid: Uuid,
    /// The uid of the Tenant object that first had the data.
    pub origin: Uuid,
    /// `Active`, `Suspended` or `Retained`.
    pub state: String,
    /// What callers of a suspended tenant read.
    pub suspended_message: Option<String>,
    /// The schema.
    pub schema_name: String,
    /// The DML role.
    pub tenant_role: String,
    /// The shard of logins that hold the tenant's roles.
    pub login_shard: i16,
    /// The backend instances, as [`Placement`].
    pub placement: Value,
    /// Limits, as [`Quotas`].
    pub quotas: Value,
    /// Who may sign in, as `spec.auth` says.
    pub auth: Value,
    /// Origins whose pages may call the tenant, as [`Cors`].
    pub cors: Value,
    /// The generation of the Tenant that the tables are at.
    pub generation: i64,
    /// Whether traffic may be served.
    pub ready: bool,
    /// `Shared` or `Dedicated`, as [`Connections`].
    pub connections: String,
    /// Counts changes.
    pub revision: i64,
    /// Host names.
    pub hosts: Vec<String>,
}

/// The value of `tenantry.tenant.connections`: by which login a tenant is served.
///
/// What the row says is a hint about where to ask first; what a login may do is the database's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Connections {
    /// By the login of its shard, which is a member of many tenants' roles. Nothing in the tenant's schema is code.
    #[default]
    Shared,
    /// By a login that is a member of this tenant's role alone.
    Dedicated,
}

impl Connections {
    /// As the registry writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "Shared",
            Self::Dedicated => "Dedicated",
        }
    }

    /// What the registry says. A word of another release is read as the safer of the two.
    pub fn of(text: &str) -> Self {
        if text == Self::Shared.as_str() { Self::Shared } else { Self::Dedicated }
    }
}

/// The value of `tenantry.tenant.quotas`, as far as requests are bounded by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Quotas {
    /// Requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// Milliseconds of a statement.
    pub statement_timeout_milliseconds: Option<u32>,
}

/// The value of `tenantry.tenant.cors`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Cors {
    /// Origins, or `*`.
    pub allowed_origins: Vec<String>,
}

/// The value of `tenantry.tenant.placement`: the instances that hold a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, serde::Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// The Postgres instance, which is the one that the row is in.
    pub postgres: InstanceName,
    /// The Redis instance.
    pub redis: InstanceName,
    /// The search instance.
    pub search: InstanceName,
}

/// A row of `tenantry.tenant_app`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Deserialize)]
pub struct TenantAppRecord {
    /// The tenant.
    pub tenant: String,
    /// The app.
    pub app: String,
    /// The version that the tenant's tables are at.
    pub version: String,
    /// `Installed`, or `Removed` when the tables stay but are not served.
    pub state: String,
}

/// A row of `tenantry.tenant_migration`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Deserialize)]
pub struct MigrationRecord {
    /// The app.
    pub app: String,
    /// The migration.
    pub name: String,
    /// SHA-256 of its SQL, in hex.
    pub checksum: String,
    /// Whether it is known to have run.
    pub ran: bool,
    /// Whether that is written down. Postgres forgets one day whether an old transaction was committed.
    pub ended: bool,
    /// The transaction that it was begun in; nothing when it was taken as run.
    pub transaction: Option<String>,
}

/// A row of `tenantry.app_version`.
#[derive(Debug, Clone, PartialEq, FromRow, Deserialize)]
pub struct AppVersionRecord {
    /// The app.
    pub app: String,
    /// The version.
    pub version: String,
    /// [`tenantry_crds::definition::AppDefinition::digest`] of the definition.
    pub digest: String,
    /// The `spec` of the App, as it was published.
    pub definition: Value,
}

/// A row of `tenantry.search_binding`.
#[derive(Debug, Clone, PartialEq, FromRow, Deserialize)]
pub struct SearchBindingRecord {
    /// The tenant.
    pub tenant: String,
    /// The app.
    pub app: String,
    /// The document type.
    pub doc_type: String,
    /// `Meilisearch` or `Postgres`.
    pub engine: String,
    /// `Dedicated` or `Shared`.
    pub isolation: String,
    /// The index that answers searches.
    pub index_uid: String,
    /// The index that is being built.
    pub building_uid: Option<String>,
    /// The settings, as [`SearchSettings`].
    pub settings: Value,
    /// The digest of the settings.
    pub settings_digest: String,
    /// Whether the engine has the index with these settings.
    pub live: bool,
}

/// What a search index is configured with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchSettings {
    /// Fields that the text of a search is looked up in, most important first.
    pub searchable: Vec<String>,
    /// Fields that may stand in filters and facets: those of the SearchIndex and those that row rules need.
    pub filterable: Vec<String>,
    /// Fields that results may be ordered by.
    pub sortable: Vec<String>,
}

/// A row of `tenantry.stream_binding`.
#[derive(Debug, Clone, PartialEq, Eq, FromRow, Deserialize)]
pub struct StreamBindingRecord {
    /// The tenant.
    pub tenant: String,
    /// The app.
    pub app: String,
    /// The queue.
    pub queue: String,
    /// `Durable` or `Fast`.
    pub class: String,
    /// The stream.
    pub stream_key: String,
    /// Attempts before a job goes to the dead letters.
    pub max_attempts: i32,
    /// Seconds that a worker holds a job without a sign of life.
    pub lease_seconds: i32,
    /// Jobs above which new ones are refused.
    pub max_length: i32,
}

/// Which tenants to read.
#[derive(Debug, Clone, Copy)]
pub enum Of<'a> {
    /// All of them.
    Every,
    /// The one with this name.
    One(&'a str),
}

impl<'a> Of<'a> {
    /// The parameter of `$1 IS NULL OR tenant = $1`.
    fn name(self) -> Option<&'a str> {
        match self {
            Self::Every => None,
            Self::One(name) => Some(name),
        }
    }
}

macro_rules! reader {
    ($(#[$doc:meta])* $function:ident, $parameter:ty, $record:ty, $sql:literal) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// When the query fails.
        pub async fn $function(db: impl PgExecutor<'_>, of: $parameter) -> sqlx::Result<Vec<$record>> {
            sqlx::query_as($sql).bind(of.name()).fetch_all(db).await
        }
    };
}

reader!(
    /// Tenants, in any state.
    tenants, Of<'_>, TenantRecord,
    "SELECT name, uid, coalesce(origin, uid) AS origin, state, suspended_message, schema_name, tenant_role, login_shard, placement, quotas, auth, cors, generation, \
            ready, connections, revision, \
            ARRAY(SELECT host FROM tenantry.tenant_host h WHERE h.tenant = t.name ORDER BY host) AS hosts \
     FROM tenantry.tenant t WHERE $1::text IS NULL OR name = $1"
);
reader!(
    /// Apps of tenants.
    tenant_apps, Of<'_>, TenantAppRecord,
    "SELECT tenant, app, version, state FROM tenantry.tenant_app WHERE $1::text IS NULL OR tenant = $1"
);
reader!(
    /// Search bindings of tenants.
    search_bindings, Of<'_>, SearchBindingRecord,
    "SELECT tenant, app, doc_type, engine, isolation, index_uid, building_uid, settings, settings_digest, live \
     FROM tenantry.search_binding WHERE $1::text IS NULL OR tenant = $1"
);
reader!(
    /// Stream bindings of tenants.
    stream_bindings, Of<'_>, StreamBindingRecord,
    "SELECT tenant, app, queue, class, stream_key, max_attempts, lease_seconds, max_length \
     FROM tenantry.stream_binding WHERE $1::text IS NULL OR tenant = $1"
);
reader!(
    /// Published versions; of every app, or of the one with this name.
    app_versions, Of<'_>, AppVersionRecord,
    "SELECT app, version, digest, definition FROM tenantry.app_version WHERE $1::text IS NULL OR app = $1 \
     ORDER BY app, published_at"
);
