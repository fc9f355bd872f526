//! What a database administrator does once for each database: the operator's login and its schema.

use sqlx::{Connection, PgConnection};

use crate::{
    logins, platform,
    sql::{Ident, Literal},
};

/// The oldest server that will do: before 16, CREATEROLE is nearly a superuser.
pub const MIN_SERVER_VERSION_NUM: i32 = 160_000;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server is too old.
    #[error(
        "PostgreSQL {found} is too old: 16 or newer is needed, since older servers make CREATEROLE nearly a superuser"
    )]
    ServerTooOld {
        /// `server_version` of the server.
        found: String,
    },
    /// A statement failed.
    #[error("preparing the database")]
    Database(#[from] sqlx::Error),
}

/// Makes the operator's login, with a password given as its SCRAM verifier, and the schema that it owns. Run as a superuser
/// or as the administrator of a managed server. Repeating it sets the password anew and changes nothing else.
///
/// # Errors
/// When the server is too old or refuses a statement.
pub async fn run(connection: &mut PgConnection, operator_verifier: &str) -> Result<(), Error> {
    let (version, number, database, exists): (String, i32, String, bool) = sqlx::query_as(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_database()::text, \
         EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)",
    )
    .bind(logins::OPERATOR)
    .fetch_one(&mut *connection)
    .await?;
    if number < MIN_SERVER_VERSION_NUM {
        return Err(Error::ServerTooOld { found: version });
    }
    let mut transaction = connection.begin().await?;
    for statement in statements(&database, operator_verifier, exists) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

fn statements(database: &str, verifier: &str, exists: bool) -> Vec<String> {
    let (operator, database, schema) = (Ident(logins::OPERATOR), Ident(database), Ident(platform::SCHEMA));
    let verb = if exists { "ALTER" } else { "CREATE" };
    vec![
        format!(
            "{verb} ROLE {operator} LOGIN CREATEROLE NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS PASSWORD {}",
            Literal(verifier)
        ),
        // A managed server's administrator is no superuser and needs this to hand the schema over.
        format!("GRANT {operator} TO CURRENT_USER WITH SET TRUE, INHERIT FALSE"),
        format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
        format!("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {operator} WITH GRANT OPTION"),
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
        format!("CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {operator}"),
    ]
}
