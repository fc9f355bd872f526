//! Keys that stand in the metadata of objects.

/// The API group of all kinds.
pub const GROUP: &str = "tenantry.dev";

/// Set on a Tenant before its first side effect; removed after the deletion policy was carried out.
pub const TENANT_FINALIZER: &str = "tenantry.dev/provisioned";

/// Set on an App so that its deletion waits for the tenants that use it.
pub const APP_FINALIZER: &str = "tenantry.dev/installed";

/// `"true"` stops the operator from touching the object and what it stands for.
pub const PAUSED_ANNOTATION: &str = "tenantry.dev/paused";

/// Any new value asks for a pass now.
pub const RECONCILE_AT_ANNOTATION: &str = "tenantry.dev/reconcile-at";

/// The field manager of the operator's finalizer writes.
pub const OPERATOR_FIELD_MANAGER: &str = "tenantry-operator";

/// The field manager of the operator's status writes.
pub const STATUS_FIELD_MANAGER: &str = "tenantry-operator/status";

/// The field manager of the admin REST API.
pub const API_FIELD_MANAGER: &str = "tenantry-api";
