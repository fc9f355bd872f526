//! The one error type of the operator, and the class that decides what follows from an error.

use std::{error::Error as StdError, time::Duration};

use tenantry_crds::{
    definition::DefinitionErrors,
    names::{InstanceName, InvalidName},
    reason::Reason,
};
use tenantry_migrations::platform::{self, FENCED_SQLSTATE};

/// Why a pass did not reach its goal. Each says what was attempted and keeps its cause; none holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement, or a connection to Postgres.
    #[error("{doing}: {}", database_brief(source))]
    Database {
        /// What was attempted, as in `creating the schema`.
        doing: &'static str,
        /// The cause.
        source: sqlx::Error,
    },
    /// A migration of the platform schema.
    #[error("migrating the platform schema")]
    Migration(#[source] platform::Error),
    /// A Redis command, or a connection.
    #[error("{doing}: {}", redis_brief(source))]
    Redis {
        /// What was attempted.
        doing: &'static str,
        /// The cause.
        source: redis::RedisError,
    },
    /// A request to the search engine.
    #[error("{doing}: {source}")]
    Search {
        /// What was attempted.
        doing: &'static str,
        /// The cause.
        source: SearchFault,
    },
    /// A request to the store of the snapshots.
    #[error("{doing}: {source}; check snapshots.url and its keys")]
    Store {
        /// What was attempted.
        doing: &'static str,
        /// The cause.
        source: StoreFault,
    },
    /// A deletion waits for a backend that does not answer.
    #[error(
        "{source}; {left} cannot be removed before {backend} answers. If it is gone for good, the annotation \
         tenantry.dev/force-release={backend} lets the Tenant go and records what is left behind"
    )]
    Stuck {
        /// `postgres`, `redis` or `search`.
        backend: &'static str,
        /// What is left there.
        left: String,
        /// How it does not answer.
        source: Box<Error>,
    },
    /// A request to the Kubernetes API.
    #[error("{doing}: {}", kube_brief(source))]
    Kube {
        /// What was attempted.
        doing: &'static str,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// Someone else changed the object between our reading and our writing.
    #[error("{doing}: someone else changed the object")]
    Raced {
        /// What was attempted.
        doing: &'static str,
    },
    /// A backend did not answer in time.
    #[error("{doing}: no answer within {limit:?}")]
    Timeout {
        /// What was attempted.
        doing: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A backend instance other than the default one did not do what it was asked.
    #[error("{source} (instance {instance})")]
    Instance {
        /// Its name.
        instance: InstanceName,
        /// The cause.
        source: Box<Error>,
    },
    /// Somebody else leads now: nothing may be changed any more.
    #[error("this operator does not lead any more")]
    Fenced,
    /// The pass took too long and was dropped; every step is idempotent, the next pass goes on.
    #[error("the pass exceeded its deadline of {limit:?}")]
    Deadline {
        /// The deadline.
        limit: Duration,
    },
    /// The pass panicked. The payload goes to the log only.
    #[error("the pass panicked; see the operator's log")]
    Panicked,
    /// Something that a person must change; the next change heals it.
    #[error("{message}")]
    Blocked {
        /// Which obstacle.
        reason: Reason,
        /// What, why and what to do.
        message: String,
    },
    /// Something that comes by itself, as an App that is being published.
    #[error("{message}")]
    Waiting {
        /// For what.
        reason: Reason,
        /// What is waited for.
        message: String,
    },
    /// The manifest breaks a rule that the CRD could not check.
    #[error("{0}")]
    Invalid(String),
    /// A definition that does not compile.
    #[error("{0}")]
    Definition(#[from] DefinitionErrors),
    /// A name that does not follow its rule.
    #[error("{0}")]
    Name(#[from] InvalidName),
    /// Stored or sent data that this release cannot read or write.
    #[error("{doing}: unreadable data")]
    Data {
        /// What was attempted.
        doing: &'static str,
        /// The cause.
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// How the search engine failed.
#[derive(Debug, thiserror::Error)]
pub enum SearchFault {
    /// It is not configured.
    #[error("no search engine is configured; set search.url")]
    NotConfigured,
    /// It does not answer.
    #[error("the search engine does not answer")]
    Unreachable(#[source] reqwest::Error),
    /// It answers with an error.
    #[error("the search engine answered {status} {code}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its `code`, as in `invalid_api_key`.
        code: String,
    },
    /// It answers what this release cannot read.
    #[error("the search engine's answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// A task failed.
    #[error("search task {task} failed: {code}")]
    TaskFailed {
        /// The task's uid.
        task: u64,
        /// Its error's `code`.
        code: String,
    },
}

/// How the store of the snapshots failed. Without the addresses and headers that its client puts into its own texts.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// A file that must be there is not.
    #[error("{0} is missing in the store of the snapshots")]
    Missing(String),
    /// The keys are wrong, or lack a right.
    #[error("the store of the snapshots refuses our keys")]
    Refused,
    /// It cannot be used as it is configured.
    #[error("the store of the snapshots cannot be used as it is configured")]
    Misconfigured,
    /// It does not answer, or not as it should.
    #[error("the store of the snapshots failed ({0})")]
    Failed(String),
}

impl From<object_store::Error> for StoreFault {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { path, .. } => Self::Missing(path),
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::Refused
            }
            object_store::Error::Generic { store, .. } => Self::Failed(store.to_owned()),
            object_store::Error::JoinError { .. } => Self::Failed("task".to_owned()),
            _ => Self::Misconfigured,
        }
    }
}

/// What an error asks for: when to try again, what the conditions say and which Event is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Passes by itself: Reconciling, retried with backoff.
    Transient,
    /// A person must act: Stalled, looked at again slowly, healed at once by what triggers the object.
    Blocked,
    /// The manifest is wrong: Stalled until it changes.
    Invalid,
    /// Someone wrote at the same time: tried again at once.
    Conflict,
    /// A fault of ours or a misconfigured backend: Stalled, retried with backoff.
    Fatal,
}

impl Class {
    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Blocked => "blocked",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Fatal => "fatal",
        }
    }
}

impl Error {
    /// `map_err(Error::database("creating the schema"))`.
    pub fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| match &source {
            sqlx::Error::Database(error) if error.code().as_deref() == Some(FENCED_SQLSTATE) => Self::Fenced,
            _ => Self::Database { doing, source },
        }
    }

    /// `map_err(Error::redis("creating the consumer group"))`.
    pub fn redis(doing: &'static str) -> impl FnOnce(redis::RedisError) -> Self {
        move |source| Self::Redis { doing, source }
    }

    /// `map_err(Error::search("updating the settings"))`.
    pub fn search(doing: &'static str) -> impl FnOnce(SearchFault) -> Self {
        move |source| Self::Search { doing, source }
    }

    /// `map_err(Error::store("writing a file of a snapshot"))`.
    pub fn store(doing: &'static str) -> impl FnOnce(object_store::Error) -> Self {
        move |source| Self::Store { doing, source: source.into() }
    }

    /// `map_err(Error::kube("writing the status"))`.
    pub fn kube(doing: &'static str) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Kube { doing, source: Box::new(source) }
    }

    /// `map_err(Error::data("reading a published definition"))`.
    pub fn data<E: StdError + Send + Sync + 'static>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Data { doing, source: Box::new(source) }
    }

    /// Something that a person must change.
    pub fn blocked(reason: Reason, message: impl Into<String>) -> Self {
        Self::Blocked { reason, message: message.into() }
    }

    /// Something that comes by itself.
    pub fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self::Waiting { reason, message: message.into() }
    }

    /// Says at which instance a backend failed. The default one is what people think of anyway.
    pub fn at(self, instance: &InstanceName) -> Self {
        match &self {
            Self::Database { .. } | Self::Redis { .. } | Self::Search { .. } | Self::Timeout { .. }
                if *instance != InstanceName::default() =>
            {
                Self::Instance { instance: instance.clone(), source: Box::new(self) }
            }
            _ => self,
        }
    }

    /// The SQLSTATE with which Postgres refused.
    pub fn sqlstate(&self) -> Option<std::borrow::Cow<'_, str>> {
        match self {
            Self::Database { source: sqlx::Error::Database(refusal), .. } => refusal.code(),
            Self::Instance { source, .. } => source.sqlstate(),
            _ => None,
        }
    }

    /// What the backend said, without what was attempted.
    pub fn brief(&self) -> String {
        match self {
            Self::Database { source, .. } => database_brief(source),
            Self::Instance { source, .. } => source.brief(),
            other => other.to_string(),
        }
    }

    /// Whether the object that was written to is gone.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Kube { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_not_found()))
    }

    /// Whether the API server found the request wrong; so it answers a JSON patch whose `test` does not hold.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Kube { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_invalid()))
    }

    /// What the error asks for. No `_` arm: a new variant has to choose.
    pub fn class(&self) -> Class {
        match self {
            Self::Database { source, .. } => database_class(source),
            Self::Migration(
                platform::Error::Database(source)
                | platform::Error::Migration(sqlx::migrate::MigrateError::Execute(source)),
            ) => database_class(source),
            Self::Migration(platform::Error::Locked { .. }) => Class::Transient,
            Self::Migration(platform::Error::Migration(_)) => Class::Fatal,
            Self::Redis { source, .. } => redis_class(source),
            Self::Search { source, .. } => search_class(source),
            Self::Store { source, .. } => match source {
                StoreFault::Failed(_) => Class::Transient,
                StoreFault::Missing(_) | StoreFault::Refused | StoreFault::Misconfigured => Class::Blocked,
            },
            Self::Stuck { source, .. } => source.class(),
            Self::Kube { source, .. } => kube_class(source),
            Self::Instance { source, .. } => source.class(),
            Self::Timeout { .. } | Self::Fenced | Self::Deadline { .. } | Self::Waiting { .. } => {
                Class::Transient
            }
            Self::Raced { .. } => Class::Conflict,
            Self::Blocked { .. } => Class::Blocked,
            Self::Invalid(_) | Self::Definition(_) | Self::Name(_) => Class::Invalid,
            Self::Panicked | Self::Data { .. } => Class::Fatal,
        }
    }

    /// The condition reason.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Blocked { reason, .. } | Self::Waiting { reason, .. } => *reason,
            Self::Invalid(_) | Self::Definition(_) | Self::Name(_) => Reason::InvalidSpec,
            Self::Stuck { source, .. } => source.reason(),
            Self::Search { source: SearchFault::TaskFailed { .. }, .. } => Reason::TaskFailed,
            Self::Database { .. }
            | Self::Migration(_)
            | Self::Redis { .. }
            | Self::Search { .. }
            | Self::Store { .. }
            | Self::Kube { .. }
            | Self::Timeout { .. } => match self.class() {
                Class::Transient | Class::Blocked => Reason::BackendUnavailable,
                Class::Conflict => Reason::ProgressingWithRetry,
                Class::Invalid | Class::Fatal => Reason::InternalError,
            },
            Self::Instance { source, .. } => source.reason(),
            Self::Fenced | Self::Deadline { .. } | Self::Raced { .. } => Reason::ProgressingWithRetry,
            Self::Panicked | Self::Data { .. } => Reason::InternalError,
        }
    }
}

fn database_class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(error) => error.code().as_deref().map_or(Class::Fatal, sqlstate_class),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Class::Transient,
        _ => Class::Fatal,
    }
}

/// The class of a SQLSTATE, by its first two characters where the whole class behaves alike.
fn sqlstate_class(code: &str) -> Class {
    match code {
        // A lock that was not had in time, a cancelled statement, a serialization failure or deadlock.
        "55P03" | "57014" | "40001" | "40P01" => Class::Transient,
        // `tuple concurrently updated`: two GRANTs met on one catalog row. Postgres has no better code for it.
        "XX000" => Class::Transient,
        // A wrong password or a missing right: whoever runs the server must act.
        "28000" | "28P01" | "42501" => Class::Blocked,
        _ => match code.get(..2) {
            // Connection exceptions, resources exhausted, the server shuts down, a system error.
            Some("08" | "53" | "57" | "58") => Class::Transient,
            _ => Class::Fatal,
        },
    }
}

fn redis_class(error: &redis::RedisError) -> Class {
    use redis::{ErrorKind, ServerErrorKind};
    match error.kind() {
        ErrorKind::Io => Class::Transient,
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => Class::Blocked,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => Class::Transient,
        ErrorKind::Server(ServerErrorKind::NoPerm) => Class::Blocked,
        // An answer with a code of its own is `Extension`: OOM and MISCONF pass when someone makes room.
        _ if matches!(error.code(), Some("OOM" | "MISCONF")) => Class::Transient,
        _ => Class::Fatal,
    }
}

fn search_class(fault: &SearchFault) -> Class {
    match fault {
        SearchFault::NotConfigured => Class::Blocked,
        SearchFault::Unreachable(_) => Class::Transient,
        SearchFault::Refused { status: 401 | 403, .. } => Class::Blocked,
        SearchFault::Refused { status: 408 | 429 | 500..=599, .. } => Class::Transient,
        SearchFault::Refused { .. } | SearchFault::Unreadable(_) | SearchFault::TaskFailed { .. } => {
            Class::Fatal
        }
    }
}

fn kube_class(error: &kube::Error) -> Class {
    match error {
        kube::Error::Api(status) if status.is_conflict() => Class::Conflict,
        kube::Error::Api(status) if status.is_forbidden() => Class::Blocked,
        kube::Error::Api(status) if status.code == 429 || status.code >= 500 => Class::Transient,
        kube::Error::Api(_) | kube::Error::SerdeError(_) | kube::Error::BuildRequest(_) => Class::Fatal,
        _ => Class::Transient,
    }
}

/// Without the statement, and without what a driver may put of a connection string into its own text.
fn database_brief(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            format!("Postgres says {} ({})", error.message(), error.code().unwrap_or_default())
        }
        sqlx::Error::Io(error) => format!("Postgres does not answer ({})", error.kind()),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            "no connection to Postgres is free".to_owned()
        }
        sqlx::Error::Configuration(_) => "the connection settings are wrong".to_owned(),
        sqlx::Error::RowNotFound => "a row is missing".to_owned(),
        _ => "the connection to Postgres failed".to_owned(),
    }
}

fn redis_brief(error: &redis::RedisError) -> String {
    match (error.kind(), error.code()) {
        (redis::ErrorKind::Io, _) => "Redis does not answer".to_owned(),
        (_, Some(code)) => format!("Redis answered {code}"),
        (kind, None) => format!("Redis failed with {kind:?}"),
    }
}

fn kube_brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            format!("the API server says {} ({} {})", status.message, status.code, status.reason)
        }
        _ => "the API server does not answer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_decides_whether_waiting_helps() {
        for code in ["08006", "40001", "53300", "55P03", "57P01", "XX000"] {
            assert_eq!(sqlstate_class(code), Class::Transient, "{code}");
        }
        for code in ["28P01", "42501"] {
            assert_eq!(sqlstate_class(code), Class::Blocked, "{code}");
        }
        assert_eq!(sqlstate_class("42601"), Class::Fatal);
    }

    #[test]
    fn no_connection_string_reaches_a_message() {
        let source = sqlx::Error::Configuration("postgres://u:hunter2@h".into());
        assert!(!Error::database("connecting")(source).to_string().contains("hunter2"));
    }

    #[test]
    fn search_faults_by_status() {
        let refused = |status| search_class(&SearchFault::Refused { status, code: String::new() });
        assert_eq!(refused(403), Class::Blocked);
        assert_eq!(refused(503), Class::Transient);
        assert_eq!(refused(400), Class::Fatal);
    }
}
