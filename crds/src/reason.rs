//! The closed set of condition reasons.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// Why a condition has its status. The text of each says what it means and what to do about it; it is what
        /// `docs/reference/conditions.md` is generated from.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)*
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

            /// What it means and what to do about it, in Markdown; a line begins with a space.
            pub(crate) const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc, "\n"),+),)*
                }
            }
        }
    };
}

reasons! {
    /// Everything declared is in place. Nothing to do.
    Succeeded,
    /// Work is under way. Nothing to do.
    Progressing,
    /// The last attempt failed in a way that usually passes (a backend was busy, someone wrote at the same time, the pass took
    /// too long). The next attempt is scheduled with backoff. If it lasts for minutes, look at the message and at the backend
    /// it names.
    ProgressingWithRetry,
    /// The annotation `tenantry.dev/paused: "true"` is on the object. Remove it to go on: `kubectl annotate tenant NAME
    /// tenantry.dev/paused-`.
    Paused,
    /// The manifest breaks a rule that the API server could not check. The message has the path of the field, as in
    /// `spec.docTypes[order].fields[customer].to`. Correct it and apply again.
    InvalidSpec,
    /// An App that is named does not exist. Apply it, or take its name out of `spec.apps`.
    AppNotFound,
    /// The App exists, but `spec.apps[].version` pins a version that was never published. `kubectl get app NAME` shows the
    /// one that tenants get. Publish the version that is wanted, or change the pin.
    AppVersionNotFound,
    /// Something that comes by itself: an App that `spec.requires` names exists and is not published yet, or the version of
    /// another app that this one needs is being rolled out and has not reached this tenant. If it lasts, look at the status of
    /// the other App.
    DependencyNotReady,
    /// An App that `spec.requires` names does not exist, or a tenant lists an app and not the one that it requires. Apply the
    /// App, or add it to `spec.apps`.
    DependencyMissing,
    /// An App that `spec.requires` names is older than `minVersion`, and no rollout will change that: the App itself is older,
    /// or the tenant pins an older version. Upgrade it, or change the pin.
    DependencyConflict,
    /// A document type, field or role that is referred to does not exist: the target of a Reference in another app, or a field
    /// of a SearchIndex. Correct the name, or publish the version of the other app that has it.
    ReferenceNotFound,
    /// The App's definition changed and its `spec.version` did not. What is published stays as it was, and tenants keep it.
    /// Give the change a new version.
    VersionImmutable,
    /// The new version would lose data, or tables that exist cannot follow it. Tables stay as they are. The message names the
    /// field, and the entry for `spec.allowDestructive` of the App where one helps; `docs/evolution.md` says what is possible.
    DestructiveChangeBlocked,
    /// A schema, role, index or registry row has the name that this object needs and does not carry its ownership mark. It is
    /// never adopted, changed or dropped. The message says what was found. The usual causes: a Tenant was deleted with `Retain`
    /// and made again (its data belongs to the old one; `spec.adoptRetained: true` takes it over), or someone made the object
    /// by hand. Rename or remove what was found, or give the Tenant another name.
    NameConflict,
    /// Another tenant already serves one of `spec.hosts`. The message names the host. Remove it from one of the two.
    HostConflict,
    /// Rows that are there do not fit the change: a value is missing, is there twice, or is not allowed any more. The message
    /// has the table, the field and the number of rows. Change those rows, or take the change out of the App.
    DataConflict,
    /// A transaction of someone else uses a table for too long. The change is tried again; traffic goes on meanwhile. If it
    /// lasts, end that transaction.
    LockTimeout,
    /// A background task, as an index build on a table that holds data, is still running. Nothing to do.
    WorkPending,
    /// A statement of `spec.migrations` failed, or the text of a migration changed after it had run. Correct the migration in a
    /// new version of the App.
    MigrationFailed,
    /// The annotation `tenantry.dev/plan: "true"` is on the object: `status.plan` says what would change, and nothing is
    /// changed. Remove it to go on.
    PlanOnly,
    /// A tenant failed at the new version of the App, and `spec.rollout.pauseOnFailure` keeps it from the others.
    /// `status.rollout.failed` says who failed and why. Solve that, pin the tenant, or publish another version; see
    /// [rollouts](../rollouts.md).
    RolloutPaused,
    /// Apps require each other in a cycle. Take one of the entries out of `spec.requires`.
    DependencyCycle,
    /// The Secret of an access exists and is not Tenantry's, another access has it, or the operator may not write to its
    /// namespace. Name another one in `spec.access[].secretRef`, remove the one that is there, or add the namespace to
    /// `operator.secretNamespaces` of the chart.
    SecretConflict,
    /// The namespace in `spec.access[].secretRef` does not exist. Create it.
    NamespaceNotFound,
    /// `spec.placement` names an instance that the operator's settings do not have. Correct the name, or add the instance.
    InstanceNotFound,
    /// No instance has room for another tenant. Add an instance, or raise a capacity in the operator's settings.
    CapacityExhausted,
    /// The manifest asks for another instance than the one that holds the tenant. A tenant cannot be moved in this release: set
    /// `spec.placement` back.
    PlacementImmutable,
    /// The Tenant is being deleted, and `spec.deletionProtection: true` keeps everything of it. Set it to `false` to go on.
    DeletionProtected,
    /// The data is being exported before it is dropped. Nothing to do.
    SnapshotRunning,
    /// An export or a restore failed; the message says where. Nothing was dropped. It is tried again.
    SnapshotFailed,
    /// The deletion policy is `Snapshot`, or `spec.restoreFrom` names a snapshot, and the operator has no store for snapshots.
    /// Nothing is changed or dropped. Set `snapshots.url` of the operator, or another deletion policy.
    SnapshotStoreMissing,
    /// Of Events only. The snapshot was read back and is complete; the data goes now. The Event says where the snapshot is.
    SnapshotTaken,
    /// Of Events only. The Tenant went without a backend that is gone, because the annotation `tenantry.dev/force-release` said
    /// so. The Event says what may still be there; the log and table `tenantry.orphan` have the same, the table unless
    /// Postgres itself is what was gone.
    Orphaned,
    /// The data of `spec.restoreFrom` is being loaded. The tenant is served once it is complete.
    Restoring,
    /// Postgres, Redis, Meilisearch or the Kubernetes API does not answer, refuses the credentials or lacks a right. With
    /// `Reconciling` it is tried again by itself; with `Stalled` somebody has to correct the credentials or the rights that the
    /// message names. Tenants that were Ready are served all the while from what is provisioned.
    BackendUnavailable,
    /// A search task is queued or running. Nothing to do; a long queue shows in Meilisearch's `/tasks`.
    TaskPending,
    /// Meilisearch ran a task and it failed. The message has the task's number and code; `GET /tasks/NUMBER` of Meilisearch has
    /// the rest.
    TaskFailed,
    /// The object is being deleted and others still use it: an App that Tenants list. Deletion goes on when the last of them is
    /// gone.
    DependentsExist,
    /// Deletion is under way; the message says what is left. While a backend is down, it waits for that backend.
    Deleting,
    /// The pass failed by a fault of ours, or a backend answered what this release cannot read. The operator's log has the
    /// cause, under the object's name. It is tried again with backoff. Please report it.
    InternalError,
    /// `spec.placement.connections: Dedicated` asks for connections of the tenant's own. Nothing to do.
    DedicatedRequested,
    /// An access of level `Owner` may put code into the tenant's schema. Nothing to do; the tenant shares connections with others
    /// again once no access has that level and nothing of what it made is left.
    OwnerAccess,
    /// SQL of an App is about to run, or ran and nobody has looked since. Nothing to do; it passes by itself.
    AppSql,
    /// The tenant's schema has something that can be code and that no definition makes, as a function, a trigger, a policy, a
    /// view or a right of somebody else. The message says what. It is left as it is and the tenant is served by connections of its own. Drop
    /// it for the tenant to share connections again.
    ForeignObjects,
    /// A login that is not the tenant's own may become its role, which somebody else than Tenantry granted. Nothing that would put code into the
    /// tenant's schema is done before that grant is revoked; the message names login and grantor.
    ForeignGrant,
    /// Nothing of this sort is declared, as `StreamsReady` of a tenant whose apps have no queues. Nothing to do.
    NotRequired,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_says_what_it_means_and_what_to_do() {
        for reason in Reason::ALL {
            let sentences = reason.text().matches(['.', ':', ';']).count();
            assert!(sentences >= 2, "{reason}: {}", reason.text());
        }
    }
}
