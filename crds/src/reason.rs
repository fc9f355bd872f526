//! The closed set of condition reasons.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a condition has its status. `docs/reference/conditions.md` says what to do about each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The reason as it stands in a condition.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    /// Everything declared is in place.
    Succeeded,
    /// Work is under way.
    Progressing,
    /// A backend failed in a way that usually passes; the next attempt is scheduled.
    ProgressingWithRetry,
    /// The object carries the `tenantry.dev/paused` annotation.
    Paused,
    /// The manifest breaks a rule that the CRD could not check.
    InvalidSpec,
    /// A named App does not exist.
    AppNotFound,
    /// The App exists, but not in the version that is asked for.
    AppVersionNotFound,
    /// An App that another one requires is missing, too old, or part of a cycle.
    DependencyNotReady,
    /// A document type, field or role that is referred to does not exist.
    ReferenceNotFound,
    /// The definition changed without a new `spec.version`.
    VersionImmutable,
    /// A change would lose data or cannot be made on existing tables.
    DestructiveChangeBlocked,
    /// An external object has the name we need and is not ours.
    NameConflict,
    /// Another tenant already serves one of the hosts.
    HostConflict,
    /// Rows that are there do not fit the change; the message says how many.
    DataConflict,
    /// A table is in use for too long; the change is tried again.
    LockTimeout,
    /// A background task, as an index build, is still running.
    WorkPending,
    /// A migration of the app failed, or its text changed after it ran.
    MigrationFailed,
    /// The annotation `tenantry.dev/plan` asks for a plan instead of a change.
    PlanOnly,
    /// A tenant failed at the new version; no other gets it.
    RolloutPaused,
    /// Apps require each other in a cycle.
    DependencyCycle,
    /// An access cannot have its Secret.
    SecretConflict,
    /// The namespace of a Secret does not exist.
    NamespaceNotFound,
    /// No instance of that name is configured.
    InstanceNotFound,
    /// No instance has room for another tenant.
    CapacityExhausted,
    /// The manifest asks for another instance than the one that holds the tenant.
    PlacementImmutable,
    /// The Tenant is being deleted, and `spec.deletionProtection` keeps its data.
    DeletionProtected,
    /// The export before the deletion is under way.
    SnapshotRunning,
    /// An export or a restore failed.
    SnapshotFailed,
    /// The data of a snapshot is being loaded.
    Restoring,
    /// A backend does not answer.
    BackendUnavailable,
    /// A search task is still running.
    TaskPending,
    /// A search task failed.
    TaskFailed,
    /// The object waits for others that still use it.
    DependentsExist,
    /// Deletion is under way.
    Deleting,
    /// The pass failed in a way that is a fault of ours; the operator's log has the cause.
    InternalError,
    /// Nothing of this sort is declared.
    NotRequired,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
