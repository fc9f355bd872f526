//! The one settings loader.

use std::path::{Path, PathBuf};

use figment::{
    Figment,
    providers::{Env, Format, Yaml},
};
use serde::de::DeserializeOwned;

/// Environment variables of this prefix are settings: `TENANTRY__DATABASE__URL` is `database.url`. The double `_` keeps
/// them apart from other variables of the same product.
pub const ENV_PREFIX: &str = "TENANTRY__";

/// Settings that cannot be used. Values are never part of the message: they may be secrets.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file named on the command line is not there.
    #[error("the settings file {0} does not exist")]
    NoSuchFile(PathBuf),
    /// A key is unknown, missing or of the wrong type.
    #[error("settings: {0}")]
    Invalid(String),
}

/// Loads settings: the defaults of `T`, then `file` (YAML), then the environment; the later wins. Unknown keys are refused.
///
/// # Errors
/// When the file is missing, or a key is unknown, missing or of the wrong type.
pub fn load<T: DeserializeOwned>(file: Option<&Path>) -> Result<T, Error> {
    let mut figment = Figment::new();
    if let Some(file) = file {
        if !file.exists() {
            return Err(Error::NoSuchFile(file.to_owned()));
        }
        figment = figment.merge(Yaml::file_exact(file));
    }
    figment.merge(Env::prefixed(ENV_PREFIX).split("__").map(setting).lowercase(false)).extract().map_err(
        |error| {
            let problems: Vec<_> = error.into_iter().map(|one| describe(&one)).collect();
            Error::Invalid(problems.join("; "))
        },
    )
}

/// `HTTP__MAX_BODY_BYTES` is `http.maxBodyBytes`, and `INSTANCES__REDIS__EU_WEST__URL_FILE` is
/// `instances.redis.eu-west.urlFile`: an instance has a DNS label for a name.
fn setting(key: &figment::value::UncasedStr) -> figment::value::Uncased<'_> {
    let lower = key.as_str().to_ascii_lowercase();
    let parts: Vec<&str> = lower.split('.').collect();
    let named = |n: usize| parts[0] == "instances" && n == 2;
    let parts = parts.iter().enumerate();
    let parts = parts.map(|(n, part)| if named(n) { part.replace('_', "-") } else { camel_case(part) });
    parts.collect::<Vec<_>>().join(".").into()
}

fn camel_case(lower: &str) -> String {
    let mut out = String::with_capacity(lower.len());
    let mut upper = false;
    for letter in lower.chars() {
        match letter {
            '_' => upper = true,
            _ if upper => {
                out.push(letter.to_ascii_uppercase());
                upper = false;
            }
            _ => out.push(letter),
        }
    }
    out
}

/// The path and the sort of problem; `figment` would also print the value that it found.
fn describe(error: &figment::Error) -> String {
    use figment::error::Kind;
    let path = error.path.join(".");
    match &error.kind {
        Kind::MissingField(field) => {
            format!("{path}{}{field} is missing", if path.is_empty() { "" } else { "." })
        }
        Kind::UnknownField(field, known) => format!("{field} is unknown; known are {}", known.join(", ")),
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => {
            format!("{path} must be {expected}")
        }
        _ => format!("{path} cannot be used"),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::settings;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Sample {
        http: Http,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Http {
        max_body_bytes: u64,
    }

    #[test]
    #[allow(clippy::result_large_err, reason = "the closure's type is figment's")]
    fn the_environment_wins_over_the_file() {
        figment::Jail::expect_with(|jail| {
            jail.create_file("settings.yaml", "http: {maxBodyBytes: 1}")?;
            let file = Some(Path::new("settings.yaml"));
            assert_eq!(load::<Sample>(file).unwrap().http.max_body_bytes, 1);
            jail.set_env("TENANTRY__HTTP__MAX_BODY_BYTES", "2");
            assert_eq!(load::<Sample>(file).unwrap().http.max_body_bytes, 2);
            Ok(())
        });
    }

    #[test]
    #[allow(clippy::result_large_err, reason = "the closure's type is figment's")]
    fn a_share_and_networks_are_checked_where_they_are_read() {
        #[derive(Debug, Deserialize)]
        struct Sample {
            #[serde(default)]
            http: settings::Http,
            #[serde(default)]
            tracing: settings::Tracing,
        }
        figment::Jail::expect_with(|jail| {
            jail.set_env("TENANTRY__TRACING__RATIO", "0.25");
            jail.set_env("TENANTRY__HTTP__TRUSTED_PROXIES", r#"["10.0.0.0/8","::1"]"#);
            let read = load::<Sample>(None).unwrap();
            assert!(read.tracing.ratio == 0.25 && read.http.trusted_proxies.len() == 2, "{read:?}");
            for wrong in ["-0.1", "1.5", "nan", "all"] {
                jail.set_env("TENANTRY__TRACING__RATIO", wrong);
                let message = load::<Sample>(None).unwrap_err().to_string();
                assert!(message.contains("tracing.ratio"), "{wrong}: {message}");
            }
            jail.set_env("TENANTRY__TRACING__RATIO", "1");
            jail.set_env("TENANTRY__HTTP__TRUSTED_PROXIES", r#"["10.0.0.0/33"]"#);
            let message = load::<Sample>(None).unwrap_err().to_string();
            assert!(message.contains("http.trustedProxies"), "{message}");
            Ok(())
        });
    }

    #[test]
    #[allow(clippy::result_large_err, reason = "the closure's type is figment's")]
    fn an_unknown_key_is_refused_and_a_value_is_never_shown() {
        figment::Jail::expect_with(|jail| {
            jail.set_env("TENANTRY__HTTP__MAX_BODY_BYTES", "hunter2");
            let message = load::<Sample>(None).unwrap_err().to_string();
            assert!(message.contains("http.maxBodyBytes") && !message.contains("hunter2"), "{message}");
            jail.create_file("settings.yaml", "http: {maxBodyBytes: 1, other: hunter2}")?;
            jail.set_env("TENANTRY__HTTP__MAX_BODY_BYTES", "1");
            let message = load::<Sample>(Some(Path::new("settings.yaml"))).unwrap_err().to_string();
            assert!(message.contains("other is unknown") && !message.contains("hunter2"), "{message}");
            Ok(())
        });
    }
}
