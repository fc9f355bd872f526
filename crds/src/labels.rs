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

/// `"true"` asks for a plan in the status instead of a change.
pub const PLAN_ANNOTATION: &str = "tenantry.dev/plan";

/// Any new value asks for new credentials of every access.
pub const ROTATE_ANNOTATION: &str = "tenantry.dev/rotate";

/// Backends, separated by commas, that a deletion goes on without: `postgres`, `redis`, `search`.
pub const FORCE_RELEASE_ANNOTATION: &str = "tenantry.dev/force-release";

/// The tenant that an object of ours belongs to.
pub const TENANT_LABEL: &str = "tenantry.dev/tenant";

/// Whose a Secret of direct access is: `{uid of the Tenant}/{access}/{backend}`.
pub const ACCESS_ANNOTATION: &str = "tenantry.dev/access";

/// Who looks after an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// The value of [`MANAGED_BY_LABEL`] on objects of the operator.
pub const MANAGED_BY: &str = "tenantry-operator";

/// The field manager of the operator's writes to Secrets.
pub const ACCESS_FIELD_MANAGER: &str = "tenantry-operator/access";

/// The field manager of the operator's finalizer writes.
pub const OPERATOR_FIELD_MANAGER: &str = "tenantry-operator";

/// The field manager of the operator's status writes.
pub const STATUS_FIELD_MANAGER: &str = "tenantry-operator/status";

/// The field manager of the admin REST API.
pub const API_FIELD_MANAGER: &str = "tenantry-api";
