//! Which logins are what they should be, as seen without changing anything.
//!
//! Whatever changes a role or a membership makes Postgres compute again what `tenantry_operator` is a member of, through its logins
//! every tenant's roles: 75 ms at 10,000 tenants, for each statement. A new leader that finds its logins in place changes none.

use std::collections::HashSet;

use futures::{StreamExt, stream};
use sqlx::PgPool;
use tenantry_migrations::logins::{self, LoginKey, LoginName, LoginShard};

use crate::{backend::postgres::dial::Dialler, error::Error};

/// Logins that are tried at the same time.
const AT_ONCE: usize = 8;

const WRONG_PASSWORD: &str = "28P01";
const NOT_LET_IN: &str = "28000";

/// Role and attributes as [`super::Logins`] makes them; passwords are not to be seen.
const LOOK: &str = "
SELECT asked.shard
FROM unnest($1::int2[], $2::text[], $3::text[]) AS asked (shard, provisioner, traffic)
JOIN pg_catalog.pg_roles p
    ON p.rolname = asked.provisioner::name AND p.rolcanlogin AND p.rolcreaterole AND p.rolinherit
JOIN pg_catalog.pg_roles t ON t.rolname = asked.traffic::name AND t.rolcanlogin AND NOT t.rolinherit
WHERE pg_catalog.has_database_privilege(t.oid, pg_catalog.current_database(), 'CONNECT')
  AND EXISTS (
      SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
      WHERE m.member = p.oid AND g.rolname = $4::name AND m.inherit_option)
  -- Whoever waits for the login's transactions to end may have to end them.
  AND EXISTS (
      SELECT FROM pg_catalog.pg_auth_members m
      WHERE m.roleid = t.oid AND m.inherit_option
        AND m.member = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user))
  AND pg_catalog.cardinality($5::text[]) = (
      SELECT count(DISTINCT g.rolname) FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
      WHERE m.member = p.oid AND g.rolname = ANY ($5::name[]) AND m.admin_option)";

/// How a login gets in, but for its name and password.
pub(super) struct Door<'a> {
    pub dialler: &'a Dialler,
    pub provisioner_key: &'a LoginKey,
    pub traffic_key: &'a LoginKey,
}

impl Door<'_> {
    /// Those of `shards` whose logins have their rights and get in.
    pub(super) async fn in_place(
        &self,
        database: &PgPool,
        shards: &[LoginShard],
    ) -> Result<HashSet<LoginShard>, Error> {
        let names = |of: fn(LoginShard) -> LoginName| -> Vec<String> {
            shards.iter().map(|shard| of(*shard).as_str().to_owned()).collect()
        };
        let with_rights: Vec<i16> = sqlx::query_scalar(LOOK)
            .bind(shards.iter().map(|shard| shard.number()).collect::<Vec<_>>())
            .bind(names(LoginShard::provisioner))
            .bind(names(LoginShard::traffic))
            .bind(logins::PROVISIONERS)
            .bind([logins::TENANTS, logins::MIGRATORS, logins::ACCESS].as_slice())
            .fetch_all(database)
            .await
            .map_err(Error::database("looking at the logins"))?;
        let tried = with_rights.into_iter().map(LoginShard::new).map(|shard| async move {
            let both = self.opens(self.provisioner_key, &shard.provisioner()).await
                && self.opens(self.traffic_key, &shard.traffic()).await;
            both.then_some(shard)
        });
        Ok(stream::iter(tried).buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await)
    }

    /// Whether a tenant's own login is let in with the password that it should have; when the server does not answer, it counts as let in:
    /// that is for others to say.
    pub(super) async fn lets_in(&self, login: &LoginName) -> bool {
        match self.dialler.knock(login, &self.traffic_key.password(login)).await {
            Ok(Err(sqlx::Error::Database(refusal))) => {
                !matches!(refusal.code().as_deref(), Some(WRONG_PASSWORD | NOT_LET_IN))
            }
            _ => true,
        }
    }

    /// Whether the login gets in with the password that it should have. One that does not, whatever the reason, is made again.
    async fn opens(&self, key: &LoginKey, login: &LoginName) -> bool {
        matches!(self.dialler.knock(login, &key.password(login)).await, Ok(Ok(())))
    }
}
