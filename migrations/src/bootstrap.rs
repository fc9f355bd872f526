//! What a database administrator does once for each database: the operator's login, its schema, and what it needs to protect tenants
//! from each other.

use sqlx::{Connection, PgConnection};

use crate::{
    logins, platform,
    sql::{Ident, Literal},
};

/// The oldest servers that will do, by major version. Before 16, CREATEROLE is nearly a superuser and memberships have no SET option.
/// Minor releases before these use plans again for another role under row security (CVE-2024-10976), and set roles back to the wrong one
/// (CVE-2024-10978).
const OLDEST: [i32; 2] = [160_006, 170_002];

/// Whether a server with this `server_version_num` is too old.
const fn is_too_old(number: i32) -> bool {
    number < OLDEST[0] || (number >= 170_000 && number < OLDEST[1])
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server is too old.
    #[error(
        "PostgreSQL {found} is too old: 16.6, 17.2, 18 or newer is needed, since older ones mix up roles"
    )]
    ServerTooOld {
        /// `server_version` of the server.
        found: String,
    },
    /// A statement failed.
    #[error("preparing the database")]
    Database(#[from] sqlx::Error),
}

/// What makes tenants safer from each other and is not needed to run: an administrator who is no superuser may not be able to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// The operator sees all sessions and may end them, so that no tenant's transaction lasts.
    Watchdog,
    /// Nobody else may make large objects or take advisory locks, which belong to no tenant and have no bounds.
    Primitives,
}

impl Protection {
    const ALL: [Self; 2] = [Self::Watchdog, Self::Primitives];

    /// What is missing without it.
    pub const fn missing(self) -> &'static str {
        match self {
            Self::Watchdog => {
                "pg_read_all_stats and pg_signal_backend could not be granted to tenantry_operator: \
                 sessions of tenants beyond their limits are not ended"
            }
            Self::Primitives => {
                "EXECUTE on large-object and advisory-lock functions could not be revoked from PUBLIC, which only a superuser can: \
                 logins of direct access can use up disk space and the lock table"
            }
        }
    }

    fn statement(self) -> String {
        match self {
            Self::Watchdog => format!(
                "GRANT pg_read_all_stats, pg_signal_backend TO {} WITH INHERIT TRUE, SET FALSE",
                Ident(logins::OPERATOR)
            ),
            // By the catalog, so that no overload is left out. A revocation that has no effect is only a warning, so it is checked.
            Self::Primitives => "DO $$
                DECLARE f regprocedure;
                BEGIN
                    FOR f IN SELECT oid FROM pg_catalog.pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
                        AND (proname LIKE 'lo\\_%' OR proname IN ('loread', 'lowrite')
                             OR proname LIKE 'pg\\_advisory\\_%' OR proname LIKE 'pg\\_try\\_advisory\\_%')
                        AND EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
                    LOOP
                        IF current_setting('is_superuser') <> 'on' THEN
                            RAISE EXCEPTION 'only a superuser can' USING ERRCODE = 'insufficient_privilege';
                        END IF;
                        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
                    END LOOP;
                END $$"
                .to_owned(),
        }
    }
}

/// Makes the operator's login, with a password given as its SCRAM verifier, the schema that it owns, and as many of the protections as
/// the administrator can. Run as a superuser or as the administrator of a managed server. Repeating it sets the password anew and
/// changes nothing else. The protections that could not be had come back.
///
/// # Errors
/// When the server is too old or refuses a statement.
pub async fn run(connection: &mut PgConnection, operator_verifier: &str) -> Result<Vec<Protection>, Error> {
    let (version, number, database, exists): (String, i32, String, bool) = sqlx::query_as(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int, current_database()::text, \
         EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)",
    )
    .bind(logins::OPERATOR)
    .fetch_one(&mut *connection)
    .await?;
    if is_too_old(number) {
        return Err(Error::ServerTooOld { found: version });
    }
    let mut transaction = connection.begin().await?;
    for statement in statements(&database, operator_verifier, exists) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    let mut missing = Vec::new();
    for protection in Protection::ALL {
        match sqlx::raw_sql(sqlx::AssertSqlSafe(protection.statement())).execute(&mut *connection).await {
            Ok(_) => {}
            Err(error) if is_refused(&error) => missing.push(protection),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(missing)
}

fn is_refused(error: &sqlx::Error) -> bool {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == INSUFFICIENT_PRIVILEGE)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_releases_that_mix_up_roles_are_refused() {
        for (number, refused) in [
            (150_018, true),
            (160_005, true),
            (160_006, false),
            (170_001, true),
            (170_002, false),
            (180_000, false),
        ] {
            assert_eq!(is_too_old(number), refused, "{number}");
        }
    }
}
