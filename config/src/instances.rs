//! Several Postgres, Redis and search instances.
//!
//! `database.url`, `redis.url` and `search.url` are the instances named `default`. More are named under `instances`; an entry
//! `default` there may bound the default one, and nothing else. Both programs must know the same instances.

use std::{collections::BTreeMap, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;
use tenantry_crds::names::InstanceName;

use crate::settings::{Redis, Search};

/// Instances, by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Instances {
    /// Postgres instances, as `database.url`.
    pub postgres: BTreeMap<String, UrlEntry>,
    /// Redis instances, as `redis.url`.
    pub redis: BTreeMap<String, UrlEntry>,
    /// Search instances, as `search`.
    pub search: BTreeMap<String, SearchEntry>,
}

/// An instance that a URL is enough for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UrlEntry {
    /// The URL.
    pub url: Option<SecretString>,
    /// A file that holds the URL, as a mounted Secret.
    pub url_file: Option<PathBuf>,
    /// Tenants that the instance takes; without it there is no bound.
    pub capacity: Option<u32>,
}

/// A search instance.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SearchEntry {
    /// `http://HOST:PORT`.
    pub url: Option<String>,
    /// The master key.
    pub master_key: Option<SecretString>,
    /// A file that holds the master key, as a mounted Secret.
    pub master_key_file: Option<PathBuf>,
    /// Tenants that the instance takes; without it there is no bound.
    pub capacity: Option<u32>,
}

/// An instance that can be used.
#[derive(Debug, Clone)]
pub struct Instance<T> {
    /// Its name, as `spec.placement` has it.
    pub name: InstanceName,
    /// Tenants that it takes.
    pub capacity: Option<u32>,
    /// How it is reached.
    pub access: T,
}

/// An instance that cannot be used. No value is part of the message: it may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The name is not allowed.
    #[error("instances.{kind}: {source}")]
    Name {
        /// `postgres`, `redis` or `search`.
        kind: &'static str,
        /// The rule that was broken.
        source: tenantry_crds::names::InvalidName,
    },
    /// The default instance has its own settings.
    #[error("instances.{kind}.default takes only a capacity; its address is {kind_settings}")]
    Default {
        /// `postgres`, `redis` or `search`.
        kind: &'static str,
        /// Where it belongs.
        kind_settings: &'static str,
    },
    /// Nothing, or two things, say where the instance is.
    #[error("instances.{kind}.{name}: give exactly one of {field} and {field}File")]
    Source {
        /// `postgres`, `redis` or `search`.
        kind: &'static str,
        /// The instance.
        name: InstanceName,
        /// The setting.
        field: &'static str,
    },
    /// A search instance without an address.
    #[error("instances.search.{0}: url is missing")]
    NoUrl(InstanceName),
    /// A file cannot be read.
    #[error("instances.{kind}.{name}: {field}File {file} cannot be read")]
    File {
        /// `postgres`, `redis` or `search`.
        kind: &'static str,
        /// The instance.
        name: InstanceName,
        /// The setting.
        field: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Instances {
    /// Every Postgres instance, the default one first.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn postgres(&self, default: &SecretString) -> Result<Vec<Instance<SecretString>>, InstanceError> {
        urls("postgres", "database.url", &self.postgres, default.clone())
    }

    /// Every Redis instance, the default one first.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn redis(&self, default: &Redis) -> Result<Vec<Instance<Redis>>, InstanceError> {
        let all = urls("redis", "redis.url", &self.redis, default.url.clone())?;
        let redis = |one: Instance<SecretString>| Instance {
            name: one.name,
            capacity: one.capacity,
            access: Redis { url: one.access },
        };
        Ok(all.into_iter().map(redis).collect())
    }

    /// Every search instance, the default one first if there is one.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn search(&self, default: Option<&Search>) -> Result<Vec<Instance<Search>>, InstanceError> {
        const KIND: &str = "search";
        let mut all = Vec::new();
        if let Some(default) = default {
            let capacity = self.search.get(InstanceName::default().as_str()).and_then(|entry| entry.capacity);
            all.push(Instance { name: InstanceName::default(), capacity, access: default.clone() });
        }
        for (name, entry) in &self.search {
            let name = named(KIND, name)?;
            if name == InstanceName::default() {
                let empty =
                    entry.url.is_none() && entry.master_key.is_none() && entry.master_key_file.is_none();
                refuse_default(KIND, "search.url", empty)?;
                continue;
            }
            let url = entry.url.clone().ok_or_else(|| InstanceError::NoUrl(name.clone()))?;
            let key = (entry.master_key.as_ref(), entry.master_key_file.as_ref());
            let access = Search { url, master_key: secret(KIND, &name, "masterKey", key)? };
            all.push(Instance { name, capacity: entry.capacity, access });
        }
        Ok(all)
    }
}

fn urls(
    kind: &'static str,
    settings: &'static str,
    entries: &BTreeMap<String, UrlEntry>,
    default: SecretString,
) -> Result<Vec<Instance<SecretString>>, InstanceError> {
    let capacity = entries.get(InstanceName::default().as_str()).and_then(|entry| entry.capacity);
    let mut all = vec![Instance { name: InstanceName::default(), capacity, access: default }];
    for (name, entry) in entries {
        let name = named(kind, name)?;
        if name == InstanceName::default() {
            refuse_default(kind, settings, entry.url.is_none() && entry.url_file.is_none())?;
            continue;
        }
        let access = secret(kind, &name, "url", (entry.url.as_ref(), entry.url_file.as_ref()))?;
        all.push(Instance { name, capacity: entry.capacity, access });
    }
    Ok(all)
}

fn named(kind: &'static str, name: &str) -> Result<InstanceName, InstanceError> {
    InstanceName::new(name).map_err(|source| InstanceError::Name { kind, source })
}

fn refuse_default(kind: &'static str, kind_settings: &'static str, empty: bool) -> Result<(), InstanceError> {
    if empty { Ok(()) } else { Err(InstanceError::Default { kind, kind_settings }) }
}

fn secret(
    kind: &'static str,
    name: &InstanceName,
    field: &'static str,
    sources: (Option<&SecretString>, Option<&PathBuf>),
) -> Result<SecretString, InstanceError> {
    match sources {
        (Some(value), None) => Ok(value.clone()),
        (None, Some(file)) => {
            std::fs::read_to_string(file).map(|text| SecretString::from(text.trim())).map_err(|source| {
                InstanceError::File { kind, name: name.clone(), field, file: file.clone(), source }
            })
        }
        _ => Err(InstanceError::Source { kind, name: name.clone(), field }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::settings::Operator;

    const YAML: &str = "{
        database: {url: 'postgres://one', provisionerKey: k, trafficKey: k}, redis: {url: 'redis://one'},
        instances: {postgres: {default: {capacity: 10}, east: {url: 'postgres://two'}}},
    }";

    /// The settings of the file and of `environment`, in a folder with a file `url`.
    #[allow(clippy::result_large_err, reason = "the closure's type is figment's")]
    fn with_settings(environment: &[(&str, &str)], check: impl FnOnce(Operator)) {
        figment::Jail::expect_with(|jail| {
            jail.create_file("settings.yaml", YAML)?;
            jail.create_file("url", "redis://three\n")?;
            environment.iter().for_each(|(key, value)| jail.set_env(key, value));
            check(crate::load(Some(Path::new("settings.yaml"))).unwrap());
            Ok(())
        });
    }

    #[test]
    fn the_settings_of_old_are_the_default_instance() {
        with_settings(&[], |operator| {
            let postgres = operator.instances.postgres(&operator.database.url).unwrap();
            let seen: Vec<_> = postgres.iter().map(|one| (one.name.as_str(), one.capacity)).collect();
            assert_eq!(seen, [("default", Some(10)), ("east", None)]);
            assert_eq!(postgres[0].access.expose_secret(), "postgres://one");
            assert!(operator.instances.search(operator.search.as_ref()).unwrap().is_empty());
        });
    }

    #[test]
    fn an_instance_is_named_in_the_environment_and_its_secret_in_a_file() {
        let environment = [
            ("TENANTRY__INSTANCES__REDIS__FAR_EAST__URL_FILE", "url"),
            ("TENANTRY__INSTANCES__REDIS__FAR_EAST__CAPACITY", "3"),
            ("TENANTRY__INSTANCES__SEARCH__EAST__URL", "http://h:1"),
            ("TENANTRY__INSTANCES__SEARCH__EAST__MASTER_KEY", "secret"),
        ];
        with_settings(&environment, |operator| {
            let redis = operator.instances.redis(&operator.redis).unwrap();
            assert_eq!((redis[1].name.as_str(), redis[1].capacity), ("far-east", Some(3)));
            assert_eq!(redis[1].access.url.expose_secret(), "redis://three", "without the end of the line");
            let search = operator.instances.search(None).unwrap();
            assert_eq!((search[0].name.as_str(), search[0].access.url.as_str()), ("east", "http://h:1"));
        });
    }

    #[test]
    fn what_says_two_things_or_none_is_refused() {
        let default = SecretString::from("postgres://one");
        let with = |name: &str, entry: UrlEntry| Instances {
            postgres: [(name.to_owned(), entry)].into(),
            ..Instances::default()
        };
        let url = || UrlEntry { url: Some(SecretString::from("hunter2")), ..UrlEntry::default() };
        let message = |instances: Instances| instances.postgres(&default).unwrap_err().to_string();
        assert!(message(with("East", url())).contains("lower-case"));
        assert!(message(with("default", url())).contains("database.url"));
        let none = message(with("east", UrlEntry::default()));
        assert!(none.contains("exactly one of url and urlFile"), "{none}");
        let both = UrlEntry { url_file: Some("/x".into()), ..url() };
        assert!(!message(with("east", both)).contains("hunter2"));
    }
}
