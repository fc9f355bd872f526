//! Why a program did not start, or ended other than by a signal.

use tenantry_config::telemetry;
use tenantry_keyring::KeyringError;
use tenantry_migrations::logins;

use crate::{
    auth::{HasherError, OutboundError, token::KeyError},
    jobs::QueueError,
    postgres::AddressError,
};

/// Why a program did not start, or ended other than by a signal.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum StartError {
    #[error("settings")]
    Settings(#[from] tenantry_config::Error),
    #[error("settings")]
    Instances(#[from] tenantry_config::instances::InstanceError),
    #[error("logging")]
    Telemetry(#[from] telemetry::NoLog),
    #[error("tracing.endpoint")]
    Tracing(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("tokens")]
    Tokens(#[from] KeyError),
    #[error("passwords")]
    Hasher(#[from] HasherError),
    #[error("settings")]
    Outbound(#[from] OutboundError),
    #[error("keyring")]
    Keyring(#[from] KeyringError),
    #[error("database.trafficKey")]
    TrafficKey(#[from] logins::WeakKey),
    #[error("database.url")]
    Address(#[from] AddressError),
    #[error("the database")]
    Database(#[from] sqlx::Error),
    #[error("redis.url")]
    Redis(#[from] redis::RedisError),
    #[error("Redis cannot hold jobs")]
    Queues(#[from] QueueError),
    #[error("the client of the search engine")]
    Search(#[from] reqwest::Error),
    #[error("metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("listening")]
    Listen(#[source] std::io::Error),
    #[error("writing to standard output")]
    Output(#[source] std::io::Error),
    #[error("the audit journal is not as it was sealed: {0} findings")]
    AuditFindings(usize),
    #[error("signals")]
    Signals(#[source] std::io::Error),
    #[error("the rustls provider was chosen before")]
    Crypto,
    #[error("tenant {0} is not in the registry, or was deleted")]
    NoSuchTenant(String),
    #[error("a role is admin or APP:ROLE, as in crm:sales; {0:?} is neither")]
    Role(String),
}
