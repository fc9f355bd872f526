//! `bootstrap`: what a database administrator does once, before the operator runs.

use std::{str::FromStr, time::Duration};

use postgres_protocol::password::scram_sha_256;
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use tenantry_config::{instances::InstanceError, settings};
use tenantry_crds::names::InstanceName;
use tenantry_migrations::{bootstrap, logins};

use crate::backend::postgres::dial;

const LIMIT: Duration = Duration::from_secs(30);

/// Why the database could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A URL cannot be used. The cause would show the password.
    #[error("{0} is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    Url(&'static str),
    /// The operator would connect as someone else.
    #[error("the URL of the instance must name the user {}", logins::OPERATOR)]
    User,
    /// The settings do not name the instance.
    #[error("the settings name no Postgres instance {0}; add it to instances.postgres")]
    Instance(InstanceName),
    /// The settings of an instance cannot be used.
    #[error(transparent)]
    Settings(#[from] InstanceError),
    /// The two URLs name different databases: the operator would not find what was prepared.
    #[error("the admin's URL and that of the instance name different databases")]
    Database,
    /// The administrator cannot connect.
    #[error("connecting as the administrator")]
    Connect(#[source] sqlx::Error),
    /// The server refuses.
    #[error(transparent)]
    Bootstrap(#[from] bootstrap::Error),
    /// The server does not answer.
    #[error("the server did not answer within {LIMIT:?}")]
    Timeout,
}

/// Makes the operator's login in an instance, with the password of its URL, and its schema. The password itself is never sent: Postgres
/// gets its SCRAM verifier, so no server log can show it. What protects tenants from each other and is beyond the administrator's
/// rights is left out, and logged.
///
/// # Errors
/// When a URL cannot be used, or the server refuses.
pub async fn run(
    admin: &SecretString,
    settings: &settings::Operator,
    instance: &InstanceName,
) -> Result<(), Failure> {
    let instances = settings.instances.postgres(&settings.database.url)?;
    let known = instances.into_iter().find(|known| known.name == *instance);
    let url = known.ok_or_else(|| Failure::Instance(instance.clone()))?.access;
    let options = |url: &SecretString, name| {
        PgConnectOptions::from_str(url.expose_secret()).map_err(|_| Failure::Url(name))
    };
    let (administrator, operator) =
        (options(admin, "the admin's URL")?, options(&url, "the instance's URL")?);
    if operator.get_username() != logins::OPERATOR {
        return Err(Failure::User);
    }
    if operator.get_database() != administrator.get_database() {
        return Err(Failure::Database);
    }
    let password = password(&url).ok_or(Failure::Url("the instance's URL"))?;
    let verifier = scram_sha_256(password.expose_secret().as_bytes());
    let work = async {
        let mut connection = dial::administrator(administrator).await.map_err(Failure::Connect)?;
        for protection in bootstrap::run(&mut connection, &verifier).await? {
            tracing::warn!(%instance, "{}", protection.missing());
        }
        connection.close().await.map_err(Failure::Connect)
    };
    tokio::time::timeout(LIMIT, work).await.map_err(|_| Failure::Timeout)?
}

/// The password that `url` holds; sqlx keeps it to itself.
fn password(url: &SecretString) -> Option<SecretString> {
    let url = reqwest::Url::parse(url.expose_secret()).ok()?;
    let decoded = percent_encoding::percent_decode_str(url.password()?).decode_utf8().ok()?;
    (!decoded.is_empty()).then(|| SecretString::from(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_decoded_as_postgres_will_get_it() {
        let found = |url: &str| password(&SecretString::from(url)).map(|p| p.expose_secret().to_owned());
        assert_eq!(found("postgres://u:a%2Fb%40@h/d").as_deref(), Some("a/b@"));
        assert_eq!(found("postgres://u@h/d"), None);
    }
}
