//! What can be set. Every key has a default but those that name a backend or hold a secret.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};

use crate::{instances::Instances, network::Network};

/// Settings of the operator.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operator {
    /// Postgres.
    pub database: OperatorDatabase,
    /// Redis.
    pub redis: Redis,
    /// Meilisearch; without it, tenants with search indexes wait.
    #[serde(default)]
    pub search: Option<Search>,
    /// Instances beside the ones above, which are those named `default`.
    #[serde(default)]
    pub instances: Instances,
    /// The Kubernetes API.
    #[serde(default)]
    pub kube: Kube,
    /// Where snapshots of tenants go; without it, a deletion with a snapshot waits.
    #[serde(default)]
    pub snapshots: Option<Snapshots>,
    /// Leader election.
    #[serde(default)]
    pub leader: Leader,
    /// Reconciliation.
    #[serde(default)]
    pub reconcile: Reconcile,
    /// Direct access.
    #[serde(default)]
    pub access: Access,
    /// Probes and metrics.
    #[serde(default)]
    pub metrics: Metrics,
    /// Logs.
    #[serde(default)]
    pub log: Log,
}

/// Settings of the control plane, in both of its roles.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlane {
    /// Postgres.
    pub database: ControlPlaneDatabase,
    /// Redis.
    pub redis: Redis,
    /// Meilisearch; without it, searches are answered with 503.
    #[serde(default)]
    pub search: Option<Search>,
    /// Instances beside the ones above, which are those named `default`; the same as the operator's.
    #[serde(default)]
    pub instances: Instances,
    /// The Kubernetes API, for the admin routes only.
    #[serde(default)]
    pub kube: Kube,
    /// The public API.
    #[serde(default)]
    pub http: Http,
    /// How many requests may come.
    #[serde(default)]
    pub limits: Limits,
    /// Tokens.
    #[serde(default)]
    pub auth: Auth,
    /// Keys that tenants' secrets are sealed under; without them, one that derives from `auth.key`.
    #[serde(default)]
    pub keyring: Option<Keyring>,
    /// The `work` role.
    #[serde(default)]
    pub worker: Worker,
    /// Probes and metrics.
    #[serde(default)]
    pub metrics: Metrics,
    /// Logs.
    #[serde(default)]
    pub log: Log,
    /// Spans of requests.
    #[serde(default)]
    pub tracing: Tracing,
}

/// The operator's Postgres.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorDatabase {
    /// `postgres://tenantry_operator:PASSWORD@HOST:PORT/DATABASE`.
    pub url: SecretString,
    /// The key from which the provisioners' passwords derive.
    pub provisioner_key: SecretString,
    /// The key from which the traffic logins' passwords derive; the control plane has the same.
    pub traffic_key: SecretString,
}

/// The control plane's Postgres.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlPlaneDatabase {
    /// `postgres://HOST:PORT/DATABASE`; the logins are derived.
    pub url: SecretString,
    /// The key from which the traffic logins' passwords derive.
    pub traffic_key: SecretString,
    /// Connections to each shard of logins.
    #[serde(default = "default::connections_per_shard")]
    pub connections_per_shard: usize,
    /// Milliseconds that Postgres may work on one statement of a tenant without `spec.quotas.statementTimeoutMilliseconds`; 8000 at most.
    #[serde(default = "default::statement_timeout_milliseconds")]
    pub statement_timeout_milliseconds: u64,
    /// Milliseconds that Postgres may work on one statement in a connection that tenants share; 10 at least. What takes longer is
    /// rolled back and runs again in a connection for slow statements.
    #[serde(default = "default::slice_milliseconds")]
    pub slice_milliseconds: u64,
    /// Slow statements at once, in a replica and for each Postgres instance. Each has a connection.
    #[serde(default = "default::slow_connections")]
    pub slow_connections: usize,
    /// Slow statements of one tenant at once.
    #[serde(default = "default::slow_connections_per_tenant")]
    pub slow_connections_per_tenant: usize,
    /// Connections of tenants that have their own, in a replica and for each Postgres instance.
    #[serde(default = "default::dedicated_connections")]
    pub dedicated_connections: usize,
    /// Connections of one tenant that has its own.
    #[serde(default = "default::dedicated_connections_per_tenant")]
    pub dedicated_connections_per_tenant: usize,
}

/// Redis.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    /// `redis://[USER:PASSWORD@]HOST:PORT[/DB]`.
    pub url: SecretString,
}

/// Meilisearch.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Search {
    /// `http://HOST:PORT`.
    pub url: String,
    /// The master key.
    pub master_key: SecretString,
}

/// Where snapshots of tenants go.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Snapshots {
    /// `file:///FOLDER`, which every operator must see, or `s3://BUCKET[/PREFIX]`.
    pub url: String,
    /// The address of the S3-compatible service, unless it is AWS: `https://HOST[:PORT]`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The bucket's region.
    #[serde(default)]
    pub region: Option<String>,
    /// With `secretAccessKey`; without, the usual AWS variables, web identity or machine role.
    #[serde(default)]
    pub access_key_id: Option<SecretString>,
    /// See `accessKeyId`.
    #[serde(default)]
    pub secret_access_key: Option<SecretString>,
    /// Exports and restores at the same time; each takes a connection to Postgres and some 50 MiB.
    #[serde(default = "default::snapshot_concurrency")]
    pub concurrency: u16,
    /// Seconds that one export or restore may take.
    #[serde(default = "default::snapshot_timeout_seconds")]
    pub timeout_seconds: u64,
}

/// The Kubernetes API.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Kube {
    /// A kubeconfig file; the in-cluster account or the usual places unless given.
    pub kubeconfig: Option<PathBuf>,
}

/// Leader election.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Leader {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub lease: String,
    /// Seconds after which a silent leader may be replaced.
    pub duration_seconds: u64,
    /// Seconds between renewals.
    pub renew_seconds: u64,
}

impl Default for Leader {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            lease: "tenantry-operator".into(),
            duration_seconds: 15,
            renew_seconds: 5,
        }
    }
}

/// Reconciliation.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Reconcile {
    /// Tenants that are reconciled at the same time because they are new or changed. As many again are reconciled in the
    /// background: resyncs, rollouts, repairs and retries.
    pub concurrency: u16,
    /// Seconds that one pass may take.
    pub deadline_seconds: u64,
    /// Seconds, jittered, between passes over an object that is Ready. Drift is found by the scan, long before.
    pub resync_seconds: u64,
    /// Seconds between two looks at all tenants that are Ready, in sets; 0 for none, and then a restart costs a pass for each.
    pub drift_scan_seconds: u64,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self { concurrency: 8, deadline_seconds: 30, resync_seconds: 12 * 3600, drift_scan_seconds: 600 }
    }
}

/// Direct access: the Secrets that hand out logins, and the addresses in them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Access {
    /// The namespaces that Secrets may be written to; `*` for all. Without any, no direct access is given.
    pub secret_namespaces: Vec<String>,
    /// `OWN=PUBLIC` for each backend that others reach elsewhere than the operator does: `HOST:PORT` for Postgres and Redis,
    /// the whole URL for Meilisearch.
    pub public_addresses: Vec<String>,
}

/// The public API.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Http {
    /// The address of the API.
    pub listen: SocketAddr,
    /// Seconds that a request may take.
    pub timeout_seconds: u64,
    /// Bytes that a request's body may have.
    pub max_body_bytes: usize,
    /// Seconds until a request's head must be there. A connection that is kept open and not used is closed after it, too.
    pub header_timeout_seconds: u64,
    /// Seconds for which a client may take nothing of an answer that is being sent; then its connection is closed. On the average
    /// it has to take 32 KiB a second.
    pub write_timeout_seconds: u64,
    /// Bytes of memory for what requests hold: passwords that are hashed, bodies, rows, and answers until they have been sent.
    /// About 300 MiB less than the limit of the container.
    pub memory_bytes: usize,
    /// Proxies whose `X-Forwarded-For` is believed, as in `["10.0.0.0/8"]`. Behind a proxy that is not listed, all requests come
    /// from its address.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            timeout_seconds: 10,
            max_body_bytes: 1024 * 1024,
            header_timeout_seconds: 30,
            write_timeout_seconds: 15,
            memory_bytes: 192 * 1024 * 1024,
            trusted_proxies: Vec::new(),
        }
    }
}

/// How many requests may come in a minute, over all replicas; 0 for any number.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// From one address; from one network of 64 bits for IPv6.
    pub address_per_minute: u32,
    /// For one tenant without `spec.quotas.requestsPerMinute`.
    pub tenant_per_minute: u32,
    /// Of one user.
    pub user_per_minute: u32,
    /// Sign-ups, and e-mails that somebody wants sent, at one tenant from one address.
    pub sign_ups_per_minute: u32,
    /// On a route, by its template as in `/api/v1/data/{app}/{plural}`: of one user, or from one address where no token is needed.
    pub routes: BTreeMap<String, u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            address_per_minute: 120_000,
            tenant_per_minute: 600_000,
            user_per_minute: 60_000,
            sign_ups_per_minute: 30,
            routes: BTreeMap::new(),
        }
    }
}

/// Tokens. At least one key is needed; a program that would accept tokens without one does not start.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Auth {
    /// The `iss` of tokens.
    pub issuer: String,
    /// The `aud` that a token must have.
    pub audience: String,
    /// The secret for HS256, at least 32 bytes.
    pub hs256_secret: Option<SecretString>,
    /// A PEM file with the Ed25519 public key for EdDSA.
    pub ed25519_public_key: Option<PathBuf>,
    /// A PEM file with the Ed25519 private key, needed only to issue tokens.
    pub ed25519_private_key: Option<PathBuf>,
    /// A folder of keys that tokens are signed and checked with, one PEM file each (`NAME.pem`; P-256 or Ed25519; a public key
    /// is for checking only). A file `active` holds the name of the one that signs. Changes are followed.
    pub keys_folder: Option<PathBuf>,
    /// From which refresh tokens and one-time tokens derive, and without `keyring` the key that secrets are sealed under, at least
    /// 32 bytes; `database.trafficKey` unless given.
    pub key: Option<SecretString>,
    /// The `key` before this one: what was derived from it is accepted still.
    pub previous_key: Option<SecretString>,
    /// How passwords are hashed.
    pub argon2: Argon2,
    /// Private networks that webhooks and issuers of tenants may be in, as in `10.0.0.0/8`; none unless given.
    pub private_networks: Vec<Network>,
    /// Seconds that the clock may differ from Postgres'. A replica whose clock is further off is not ready. Two replicas may differ by twice
    /// as much, and tokens are good for five seconds before they were issued.
    pub clock_tolerance_seconds: u64,
}

/// Keys that tenants' secrets are sealed under.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keyring {
    /// A folder of keys, one file each: 32 random bytes in base64. The name of a file is the name of its key.
    pub folder: PathBuf,
    /// The name of the key that seals. All of them open.
    pub primary: String,
}

/// How passwords are hashed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Argon2 {
    /// KiB of memory for each password.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Passwords that are hashed at once; 0 for as many as there are processors.
    pub concurrency: usize,
}

impl Default for Argon2 {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, iterations: 2, concurrency: 0 }
    }
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            issuer: "tenantry".into(),
            audience: "tenantry".into(),
            hs256_secret: None,
            ed25519_public_key: None,
            ed25519_private_key: None,
            keys_folder: None,
            key: None,
            previous_key: None,
            argon2: Argon2::default(),
            private_networks: Vec::new(),
            clock_tolerance_seconds: 2,
        }
    }
}

/// The `work` role.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Worker {
    /// Events taken from the outbox at once.
    pub batch: u32,
    /// Milliseconds between looks at an empty outbox.
    pub poll_milliseconds: u64,
    /// Milliseconds between looks for audit rows to seal.
    pub seal_milliseconds: u64,
    /// The longest time, in seconds, between two looks for documents of a type whose time has come.
    pub sweep_seconds: u64,
}

impl Default for Worker {
    fn default() -> Self {
        Self { batch: 1000, poll_milliseconds: 200, seal_milliseconds: 1000, sweep_seconds: 300 }
    }
}

/// Probes and metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Metrics {
    /// The address of `/livez`, `/readyz` and `/metrics`.
    pub listen: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([0, 0, 0, 0], 9090)) }
    }
}

/// Logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Log {
    /// Which events are logged, as in `info,tenantry_operator=debug`.
    pub filter: String,
    /// How an event is written.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Json }
    }
}

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// A JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Spans of requests, which the `serve` role exports.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Tracing {
    /// A collector that takes OTLP over HTTP, as in `http://HOST:4318`; without it, nothing is exported.
    pub endpoint: Option<String>,
    /// Which share of the traces that begin here is exported, from 0 to 1. Of others, their callers decide.
    #[serde(deserialize_with = "share")]
    pub ratio: f64,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { endpoint: None, ratio: 1.0 }
    }
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(de::Error::invalid_value(de::Unexpected::Float(share), &"a number from 0 to 1"))
    }
}

mod default {
    pub(super) const fn connections_per_shard() -> usize {
        4
    }
    pub(super) const fn statement_timeout_milliseconds() -> u64 {
        5000
    }
    pub(super) const fn slice_milliseconds() -> u64 {
        100
    }
    pub(super) const fn slow_connections() -> usize {
        12
    }
    pub(super) const fn slow_connections_per_tenant() -> usize {
        2
    }
    pub(super) const fn dedicated_connections() -> usize {
        64
    }
    pub(super) const fn dedicated_connections_per_tenant() -> usize {
        2
    }
    pub(super) const fn snapshot_concurrency() -> u16 {
        2
    }
    pub(super) const fn snapshot_timeout_seconds() -> u64 {
        3600
    }
}
