//! What is in a Secret, in the shape of the Service Binding specification. Pure.

use std::{collections::BTreeMap, fmt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

use crate::error::Error;

/// Characters that need no escape in any part of a URL.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a backend is reached from outside of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A host name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// The address that others use, given the one that we use and the setting `access.publicAddresses`.
    ///
    /// # Errors
    /// When the setting is not `HOST:PORT=HOST:PORT`.
    pub fn public(self, settings: &[String]) -> Result<Self, Error> {
        let own = authority(&self);
        let Some(public) = public(&own, settings) else { return Ok(self) };
        let parsed = public.rsplit_once(':').and_then(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Some(Self { host, port: port.parse().ok()? })
        });
        parsed.ok_or_else(|| {
            Error::Invalid(format!(
                "the operator's setting access.publicAddresses: {public} is not HOST:PORT"
            ))
        })
    }
}

/// What stands for `own` in the setting `access.publicAddresses`.
pub fn public<'a>(own: &str, settings: &'a [String]) -> Option<&'a str> {
    settings
        .iter()
        .filter_map(|setting| setting.split_once('='))
        .find_map(|(from, to)| (from == own).then_some(to))
}

/// The user of credentials and what it has.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user.
    pub username: String,
    /// Its password, or the key of the search engine.
    pub password: SecretString,
    /// Which credentials these are.
    pub serial: i64,
    /// The user before it, as long as that one works.
    pub previous: Option<String>,
}

/// What is in a Secret. `Debug` shows keys only.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    /// The Secret's `type`.
    pub kind: &'static str,
    values: BTreeMap<&'static str, String>,
}

/// Keys that come and go; one that is there and should not be makes a difference.
const OPTIONAL: &[&str] = &[PREVIOUS];
const PREVIOUS: &str = "previous-username";
/// Which credentials these are, counted from 1.
pub const GENERATION: &str = "generation";

impl Contents {
    fn new(kind: &'static str, short: &str, address: &Address, account: &Account) -> Self {
        let mut values = BTreeMap::from([
            ("type", short.to_owned()),
            ("provider", "tenantry".to_owned()),
            ("host", address.host.clone()),
            ("port", address.port.to_string()),
            ("username", account.username.clone()),
            ("password", account.password.expose_secret().to_owned()),
            (GENERATION, account.serial.to_string()),
        ]);
        if let Some(previous) = &account.previous {
            values.insert(PREVIOUS, previous.clone());
        }
        Self { kind, values }
    }

    fn with<const N: usize>(mut self, more: [(&'static str, String); N]) -> Self {
        self.values.extend(more);
        self
    }

    /// The values, by key.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// Whether `found` has all of this. Keys that someone added are theirs.
    pub fn are_in(&self, found: &BTreeMap<String, SecretString>) -> bool {
        self.values.iter().all(|(key, value)| found.get(*key).is_some_and(|has| has.expose_secret() == value))
            && OPTIONAL.iter().all(|key| self.values.contains_key(key) || !found.contains_key(*key))
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("kind", &self.kind).field("keys", &self.values.keys()).finish()
    }
}

/// What a Postgres login works with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database<'a> {
    /// The database.
    pub name: &'a str,
    /// The tenant's schema, which is the login's `search_path`.
    pub schema: &'a str,
    /// The role whose rights it has.
    pub role: &'a str,
    /// The `sslmode` of libpq.
    pub ssl_mode: &'a str,
}

/// For Postgres.
pub fn postgres(address: &Address, account: &Account, database: &Database<'_>) -> Contents {
    let (user, password) = (escape(&account.username), escape(account.password.expose_secret()));
    let at = format!("{}/{}", authority(address), escape(database.name));
    let ssl = database.ssl_mode;
    let pgpass = [
        address.host.as_str(),
        &address.port.to_string(),
        database.name,
        &account.username,
        account.password.expose_secret(),
    ]
    .map(|part| part.replace('\\', r"\\").replace(':', r"\:"))
    .join(":");
    Contents::new("servicebinding.io/postgresql", "postgresql", address, account).with([
        ("database", database.name.to_owned()),
        ("schema", database.schema.to_owned()),
        ("role", database.role.to_owned()),
        ("sslmode", ssl.to_owned()),
        ("uri", format!("postgresql://{user}:{password}@{at}?sslmode={ssl}")),
        ("jdbc-uri", format!("jdbc:postgresql://{at}?user={user}&password={password}&sslmode={ssl}")),
        ("pgpass", pgpass),
    ])
}

/// For Redis. `prefix` is what the tenant's streams begin with, `group` their consumer group.
pub fn redis(
    address: &Address,
    account: &Account,
    database: i64,
    tls: bool,
    prefix: &str,
    group: &str,
) -> Contents {
    let (user, password) = (escape(&account.username), escape(account.password.expose_secret()));
    let scheme = if tls { "rediss" } else { "redis" };
    Contents::new("servicebinding.io/redis", "redis", address, account).with([
        ("database", database.to_string()),
        ("tls", tls.to_string()),
        ("stream-prefix", prefix.to_owned()),
        ("group", group.to_owned()),
        ("uri", format!("{scheme}://{user}:{password}@{}/{database}", authority(address))),
    ])
}

/// For Meilisearch. A key needs no user, so `username` is its uid, and `password` is the key.
pub fn search(address: &Address, account: &Account, url: &str, prefix: &str) -> Contents {
    Contents::new("servicebinding.io/meilisearch", "meilisearch", address, account).with([
        ("uri", url.to_owned()),
        ("api-key", account.password.expose_secret().to_owned()),
        ("key-uid", account.username.clone()),
        ("index-prefix", prefix.to_owned()),
    ])
}

fn authority(address: &Address) -> String {
    let Address { host, port } = address;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn escape(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}
