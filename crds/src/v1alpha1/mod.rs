//! `tenantry.dev/v1alpha1`.
//!
//! These are the manifests as people write them: plain text where a name stands, bounded by the CRD's schema and CEL
//! rules. [`crate::definition`] turns them into validated values.

mod app;
mod doc_type;
mod field;
mod permission;
mod schema;
mod search_index;
mod tenant;
mod tenant_auth;

pub use app::{
    App, AppRequirement, AppSpec, AppStatus, Canary, MigrationSpec, MissedFire, QueueClass, QueueSpec,
    RoleSpec, RolloutFailure, RolloutSpec, RolloutStage, RolloutStatus, ScheduleSpec,
};
pub use doc_type::{DocTypeSpec, NamingSpec, NamingStrategy, TtlSpec};
pub use field::{FieldSpec, FieldType, ItemFieldSpec, OnDelete};
pub use permission::{Action, AlternativeSpec, ComparisonSpec, ConditionSpec, Operator, PermissionSpec};
pub use schema::{Error as SchemaError, definitions, yaml};
pub use search_index::{
    Isolation, SearchEngine, SearchIndex, SearchIndexSpec, SearchIndexStatus, TenantSelector,
};
pub use tenant::{
    AccessBackend, AccessLevel, AccessSpec, AccessStatus, DeletionPolicy, InstalledApp, PlacementSpec,
    PlanStatus, QuotaSpec, RotationSpec, SecretReference, SnapshotStatus, Tenant, TenantApp,
    TenantConnections, TenantSpec, TenantState, TenantStatus,
};
pub use tenant_auth::{AuthSpec, AuthWebhookSpec, KEY_ISSUER, OidcIssuerSpec, PasswordPolicySpec, SignUp};
