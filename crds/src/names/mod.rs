//! Every name that Tenantry derives, and the proof that two tenants can never meet in one.
//!
//! Tenant names hold no `_`, app names hold neither `-` nor `_`, document types hold no `-`. So the separators used
//! below (`_` and `-`) split each composed name at exactly one place, and every mapping is injective
//! (`tests/names.rs` proves it by property).

mod access;
mod backend;
mod declared;
mod redis;

pub use access::{AccessLogin, AccessRole, SearchKeyUid, Slot};
pub use backend::{
    IndexUid, MigratorRole, OwnerRole, RelationKind, RelationName, SchemaName, SideTable, TableName,
    TenantRole, TrafficLogin,
};
pub use declared::{
    AccessName, AppName, DocTypeName, FieldName, InstanceName, InvalidName, PluralName, QueueName,
    RESERVED_FIELDS, RoleName, TenantName,
};
pub use redis::{RedisKey, RedisShard};

/// Postgres truncates longer identifiers silently, which would let two tenants share an object.
pub const POSTGRES_IDENTIFIER_MAX: usize = 63;
