//! What can be changed for one tenant in Postgres, as values. `ddl` and `rows` say it in SQL.

use serde_json::Value;
use tenantry_crds::names::{
    AppName, DocTypeName, IndexUid, MigratorRole, OwnerRole, QueueName, RedisKey, RelationName, SchemaName,
    TableName, TenantName, TenantRole, TrafficLogin,
};
use tenantry_migrations::{
    layout::{Column, ForeignKey, Index, TableLayout},
    logins::LoginShard,
    registry::{Connections, SearchBindingRecord, SearchSettings},
};
use uuid::Uuid;

use crate::snapshot::format::Factor;

/// Which tenant: its name, the uid of its object and what derives from the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The tenant.
    pub name: TenantName,
    /// The uid of the Tenant object, which is the ownership mark.
    pub uid: Uuid,
    /// Its schema.
    pub schema: SchemaName,
    /// The role that traffic runs as.
    pub role: TenantRole,
    /// The role that owns schema and tables.
    pub owner: OwnerRole,
    /// The login that is there only while tables that hold rows are changed.
    pub migrator: MigratorRole,
    /// The login that serves this tenant alone, while it has connections of its own.
    pub traffic: TrafficLogin,
}

impl Identity {
    /// Of the tenant with this name and uid.
    pub fn new(name: TenantName, uid: Uuid) -> Self {
        let (schema, role, owner) = (SchemaName::of(&name), TenantRole::of(&name), OwnerRole::of(&name));
        let (migrator, traffic) = (MigratorRole::of(&name), TrafficLogin::of(&name));
        Self { name, uid, schema, role, owner, migrator, traffic }
    }
}

/// Changes that are made together, in one transaction: first roles, then objects, then rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// Made as the provisioner.
    pub roles: Vec<RoleChange>,
    /// Made as the tenant's owner role.
    pub objects: Vec<ObjectChange>,
    /// Made as the provisioner. Any of them makes a new revision of the tenant, which the control plane is notified of.
    pub rows: Vec<RowChange>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.objects.is_empty() && self.rows.is_empty()
    }
}

/// A change to the roles of a tenant, or its schema as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleChange {
    /// The owner role, with its mark.
    CreateOwner,
    /// The DML role, with its mark.
    CreateRole,
    /// The provisioner may become the owner. Creating a role gives its creator the administration of it and no more.
    AllowProvisioner,
    /// The DML role may write to the journals.
    OpenJournals,
    /// This shard's traffic login may become the DML role.
    AllowTraffic(LoginShard),
    /// The schema, owned by the owner role.
    CreateSchema,
    /// This shard's traffic login may not become the DML role any more.
    RefuseTraffic(LoginShard),
    /// This shard's traffic login may not become the DML role any more, the tenant's own may, and nobody else: the transaction
    /// fails where another login still can. Password and settings of the own login are made anew.
    Dedicate {
        /// The shard.
        shard: LoginShard,
        /// The own login is there.
        exists: bool,
        /// It may log in: the tenant is not suspended.
        opens: bool,
    },
    /// Nobody can log in as the tenant's own login any more; who is in stays.
    CloseTraffic,
    /// Who is in as the tenant's own login is put out.
    EndTraffic,
    /// Who is in as the tenant's own login is put out, and the login goes with all that it owns.
    DropTraffic,
    /// The migrator that a crash left goes, with its sessions.
    DropMigrator,
    /// Both roles say that the tenant is gone and its data was kept.
    MarkRetained,
    /// Both roles, which were kept, are this tenant's from now on.
    Adopt,
    /// Both roles go.
    DropRoles,
}

/// A change to the schema of a tenant or to what is in it.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectChange {
    /// The ownership mark of the schema.
    MarkSchema {
        /// The tenant is gone and its data was kept.
        retained: bool,
    },
    /// The DML role may use the schema.
    GrantSchema,
    /// What the DML role may do with tables that are made from now on.
    DefaultTableGrants,
    /// What the DML role may do with sequences that are made from now on.
    DefaultSequenceGrants,
    /// The sequence of a naming series.
    CreateSequence(RelationName),
    /// The same where the table is there already: it goes on after the highest number in use.
    ContinueSequence(TableName, RelationName),
    /// The DML role may use a sequence.
    GrantSequence(RelationName),
    /// A table with its columns, primary key and checks; indexes and foreign keys are changes of their own.
    CreateTable(TableLayout),
    /// The DML role may read and write a table.
    GrantTable(TableName),
    /// The primary key of a table.
    AddPrimaryKey(TableName),
    /// A column of a table that has rows, maybe.
    AddColumn(TableName, Column),
    /// A column may be empty from now on.
    DropNotNull(TableName, String),
    /// A column gets the default of its definition, or none.
    SetDefault(TableName, Column),
    /// The check of the texts that a column allows.
    AddCheck(TableName, Column),
    /// The same, in place of the one that is there.
    ReplaceCheck(TableName, Column),
    /// A column takes any text from now on.
    DropCheck(TableName, String),
    /// An index.
    CreateIndex(TableName, Index),
    /// An index goes.
    DropIndex(RelationName),
    /// A constraint goes.
    DropConstraint(TableName, RelationName),
    /// A foreign key.
    AddForeignKey(TableName, ForeignKey),
    /// The same, in place of one that does something else when a document is deleted; of a table without rows.
    ReplaceForeignKey(TableName, ForeignKey),
    /// A column may not be empty from now on; of a table without rows.
    SetNotNull(TableName, String),
    /// A column goes, with what is in it.
    DropColumn(TableName, String),
    /// A table goes, with what is in it. Not when something else refers to it.
    DropTable(TableName),
    /// A sequence goes.
    DropSequence(RelationName),
    /// These tables go, with what is in them.
    DropTables(Vec<String>),
    /// The schema goes, with all that is in it.
    DropSchema,
}

/// A change to the provisioned state.
#[derive(Debug, Clone, PartialEq)]
pub enum RowChange {
    /// The tenant's own row.
    PutTenant(TenantRow),
    /// Whether a tenant is suspended, and what its callers read then.
    PutState(bool, Option<String>),
    /// By which login replicas are to ask first.
    PutConnections(Connections),
    /// The tenant serves this host.
    AddHost(String),
    /// The tenant does not serve this host any more.
    RemoveHost(String),
    /// The tables of an app are at this version.
    InstallApp(AppName, String),
    /// A migration of an app counts as run, with this checksum: its effects came with the tables.
    TakeMigrationAsRun(AppName, String, String),
    /// A migration is begun in this transaction of the migrator.
    BeginMigration {
        /// The app.
        app: AppName,
        /// The migration.
        name: String,
        /// SHA-256 of its SQL.
        checksum: String,
        /// The transaction, as Postgres counts them.
        transaction: String,
    },
    /// The transaction of a migration is committed.
    EndMigration(AppName, String),
    /// This transaction of the migrator fills the tenant's tables.
    BeginRestore {
        /// From which snapshot.
        snapshot: String,
        /// With so many rows.
        rows: u64,
        /// The transaction, as Postgres counts them.
        transaction: String,
    },
    /// Second factors of users, as far as they have none.
    PutFactors(Vec<Factor>),
    /// The data were first those of the Tenant with this uid.
    TakeOrigin(Uuid),
    /// That transaction is committed, and the registry knows what the tables are at.
    EndRestore,
    /// An app is not served any more; its tables stay.
    RemoveApp(String),
    /// A queue.
    PutStream(StreamRow),
    /// The intent to have a search index. It is written before the engine is asked.
    PutSearch(SearchRow),
    /// The engine has the index with these settings.
    SearchIsLive(SearchRow),
    /// Searches of this document type are refused from now on.
    StopSearch(SearchKey),
    /// The engine has no such index any more.
    RemoveSearch(SearchKey),
    /// The tenant is refused from now on; its data is still there.
    StopServing,
    /// The tenant is refused and its data was kept.
    Retain,
    /// What was kept of the Tenant with this uid is this tenant's from now on. Refused until everything is in place again.
    Adopt(Uuid),
    /// A snapshot was taken and verified: the data may go.
    SnapshotTaken(SnapshotRow),
    /// The data has gone, and with it the need to know of its snapshot.
    ForgetSnapshot,
    /// The deletion leaves this behind.
    Orphan(OrphanRow),
    /// The tenant's row goes, with all that belongs to it.
    RemoveTenant,
}

/// A row of `tenantry.tenant`.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantRow {
    /// Answered with 503.
    pub suspended: bool,
    /// What callers of a suspended tenant read.
    pub suspended_message: Option<String>,
    /// The logins that hold the tenant's roles.
    pub shard: LoginShard,
    /// The backend instances.
    pub placement: Value,
    /// Limits.
    pub quotas: Value,
    /// Who may sign in.
    pub auth: Value,
    /// Origins whose pages may call the tenant.
    pub cors: Value,
    /// The generation that the tables are at.
    pub generation: i64,
    /// Whether traffic may be served.
    pub ready: bool,
}

/// A row of `tenantry.snapshot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Where it is, for people.
    pub location: String,
    /// The digest of its manifest.
    pub manifest_sha256: String,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// A row of `tenantry.orphan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanRow {
    /// `postgres`, `redis` or `search`.
    pub backend: &'static str,
    /// What is left there, by kind.
    pub what: Value,
    /// Who asked for it.
    pub by: String,
}

/// A row of `tenantry.stream_binding`.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRow {
    /// The app.
    pub app: AppName,
    /// The queue.
    pub queue: QueueName,
    /// `Durable` or `Fast`.
    pub class: &'static str,
    /// The stream.
    pub key: RedisKey,
    /// Attempts before a job goes to the dead letters.
    pub max_attempts: i32,
    /// Seconds that a worker holds a job without a sign of life.
    pub lease_seconds: i32,
    /// Jobs above which new ones are refused.
    pub max_length: i32,
}

/// A row of `tenantry.search_binding`.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRow {
    /// The app.
    pub app: AppName,
    /// The document type.
    pub doc_type: DocTypeName,
    /// The index.
    pub index: IndexUid,
    /// What it is configured with.
    pub settings: SearchSettings,
    /// The digest of the settings.
    pub digest: String,
}

/// The key of a row of `tenantry.search_binding`, as the registry has it: it may be of an app that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchKey {
    /// The app.
    pub app: String,
    /// The document type.
    pub doc_type: String,
    /// The index.
    pub index: String,
}

impl SearchKey {
    /// The key of a row.
    pub fn of(record: &SearchBindingRecord) -> Self {
        Self { app: record.app.clone(), doc_type: record.doc_type.clone(), index: record.index_uid.clone() }
    }
}

impl From<&SearchRow> for SearchKey {
    fn from(row: &SearchRow) -> Self {
        Self {
            app: row.app.as_str().to_owned(),
            doc_type: row.doc_type.as_str().to_owned(),
            index: row.index.as_str().to_owned(),
        }
    }
}
