//! Where the database is.

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// A database, without a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database's name.
    pub database: String,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Not a URL of the form `postgres://HOST:PORT/DATABASE`.
    #[error("database.url: write postgres://HOST:PORT/DATABASE")]
    Malformed(#[source] sqlx::Error),
    /// No database is named.
    #[error("database.url: name the database, as in postgres://HOST:PORT/DATABASE")]
    NoDatabase,
    /// TLS is asked for.
    #[error(
        "database.url: sslmode={0} is asked for, but tenant traffic speaks plain TCP in this release; reach the database \
         over a private network or a local TLS proxy and leave sslmode out"
    )]
    Tls(&'static str),
    /// A Unix socket is asked for.
    #[error("database.url: tenant traffic goes over TCP; name a host and not a socket")]
    Socket,
}

impl Address {
    /// Reads `postgres://HOST:PORT/DATABASE`.
    ///
    /// # Errors
    /// [`AddressError`] says what to write. The URL is not repeated, since it may hold a password.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let options: PgConnectOptions = url.parse().map_err(AddressError::Malformed)?;
        match options.get_ssl_mode() {
            PgSslMode::Require => return Err(AddressError::Tls("require")),
            PgSslMode::VerifyCa => return Err(AddressError::Tls("verify-ca")),
            PgSslMode::VerifyFull => return Err(AddressError::Tls("verify-full")),
            PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer => {}
        }
        if options.get_socket().is_some() {
            return Err(AddressError::Socket);
        }
        let database = options.get_database().ok_or(AddressError::NoDatabase)?.to_owned();
        Ok(Self { host: options.get_host().to_owned(), port: options.get_port(), database })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_database() {
        let address = Address::parse("postgres://db.example:5433/tenantry").unwrap();
        assert_eq!(address, Address { host: "db.example".into(), port: 5433, database: "tenantry".into() });
        assert!(matches!(Address::parse("postgres://db.example:5433"), Err(AddressError::NoDatabase)));
        assert!(matches!(Address::parse("not a url"), Err(AddressError::Malformed(_))));
    }

    #[test]
    fn tls_that_would_not_happen_is_refused() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://db.example/tenantry?sslmode={mode}");
            assert!(matches!(Address::parse(&url), Err(AddressError::Tls(m)) if m == mode), "{mode}");
        }
    }
}
