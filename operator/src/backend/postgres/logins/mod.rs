//! The logins, and which shard of them a tenant gets. `in_place`: which are what they should be.

mod in_place;

use std::collections::{HashMap, HashSet};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tenantry_migrations::{
    logins::{self, LoginKey, LoginName, LoginShard},
    sql::{Ident, Literal},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::in_place::Door;
use crate::{backend::postgres::dial::Dialler, error::Error, killpoint::killpoint};

/// Makes logins, and binds tenants to shards of them. Lives as long as one term of leadership, since what it knows is true
/// only while nobody else writes.
#[derive(Debug)]
pub struct Logins {
    provisioner_key: LoginKey,
    traffic_key: LoginKey,
    shards: Mutex<Shards>,
}

#[derive(Debug, Default)]
struct Shards {
    /// Tenants of each shard, in the order of the shards. Nothing before it was read from the registry.
    tenants: Option<Vec<usize>>,
    /// Shards given to tenants that have no row yet.
    reserved: HashMap<Uuid, LoginShard>,
    /// Shards whose logins are known to be right.
    ensured: HashSet<LoginShard>,
}

impl Logins {
    /// Derives passwords from these keys.
    pub fn new(provisioner_key: LoginKey, traffic_key: LoginKey) -> Self {
        Self { provisioner_key, traffic_key, shards: Mutex::default() }
    }

    /// Sets the password of the control plane's login, and makes the logins of every shard in use that are not in place: the keys
    /// may be new. Called once for each term, as `tenantry_operator`; `dialler` leads to the server.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn prepare(&self, database: &PgPool, dialler: &Dialler, epoch: i64) -> Result<(), Error> {
        let control_plane = LoginName::control_plane();
        let script = format!(
            "SELECT tenantry.fence({epoch});\nALTER ROLE {} LOGIN PASSWORD {};",
            Ident(control_plane.as_str()),
            verifier(&self.traffic_key, &control_plane)
        );
        run(database, script).await?;
        let numbers: Vec<i16> = sqlx::query_scalar("SELECT shard FROM tenantry.login_shard ORDER BY shard")
            .fetch_all(database)
            .await
            .map_err(Error::database("reading the login shards"))?;
        let in_use: Vec<LoginShard> = numbers.into_iter().map(LoginShard::new).collect();
        let door = Door { dialler, provisioner_key: &self.provisioner_key, traffic_key: &self.traffic_key };
        let mut shards = self.shards.lock().await;
        shards.ensured.extend(door.in_place(database, &in_use).await?);
        for shard in in_use {
            self.ensure(&mut shards, database, epoch, shard).await?;
        }
        Ok(())
    }

    /// Whether a tenant's own login is let in with its password.
    pub async fn lets_in(&self, dialler: &Dialler, login: &LoginName) -> bool {
        let door = Door { dialler, provisioner_key: &self.provisioner_key, traffic_key: &self.traffic_key };
        door.lets_in(login).await
    }

    /// The shard of the tenant with this uid, its logins ready: the one it is `bound` to, else one with room. A tenant
    /// that asks again before it has a row gets the same.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn shard_of(
        &self,
        database: &PgPool,
        epoch: i64,
        tenant: Uuid,
        bound: Option<LoginShard>,
    ) -> Result<LoginShard, Error> {
        let mut shards = self.shards.lock().await;
        let shard = match bound {
            Some(shard) => shard,
            None => shards.reserve(database, tenant).await?,
        };
        self.ensure(&mut shards, database, epoch, shard).await?;
        Ok(shard)
    }

    /// The tenant has its row: the registry holds its shard from now on.
    pub async fn bound(&self, tenant: Uuid) {
        self.shards.lock().await.reserved.remove(&tenant);
    }

    /// The tenant is gone, and `shard` is what it was bound to.
    pub async fn released(&self, tenant: Uuid, shard: Option<LoginShard>) {
        let mut shards = self.shards.lock().await;
        let Some(shard) = shards.reserved.remove(&tenant).or(shard) else { return };
        let at = usize::try_from(shard.number()).unwrap_or(usize::MAX);
        if let Some(count) = shards.tenants.as_mut().and_then(|tenants| tenants.get_mut(at)) {
            *count = count.saturating_sub(1);
        }
    }

    async fn ensure(
        &self,
        shards: &mut Shards,
        database: &PgPool,
        epoch: i64,
        shard: LoginShard,
    ) -> Result<(), Error> {
        if shards.ensured.contains(&shard) {
            return Ok(());
        }
        let (provisioner, traffic) = (shard.provisioner(), shard.traffic());
        let (database_name, has_provisioner, has_traffic): (String, bool, bool) = sqlx::query_as(
            "SELECT pg_catalog.current_database()::text, \
             EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1), \
             EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $2)",
        )
        .bind(provisioner.as_str())
        .bind(traffic.as_str())
        .fetch_one(database)
        .await
        .map_err(Error::database("looking for the logins of a shard"))?;
        let verb = |exists| if exists { "ALTER" } else { "CREATE" };
        let script = format!(
            "SELECT tenantry.fence({epoch});\n\
             {} ROLE {provisioner} LOGIN CREATEROLE INHERIT PASSWORD {};\n\
             {} ROLE {traffic} LOGIN NOINHERIT PASSWORD {};\n\
             GRANT {} TO {provisioner} WITH INHERIT TRUE, SET FALSE;\n\
             GRANT {} TO {provisioner} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;\n\
             GRANT {} TO {provisioner} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;\n\
             GRANT {} TO {provisioner} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;\n\
             GRANT {traffic} TO CURRENT_USER WITH INHERIT TRUE, SET FALSE;\n\
             GRANT CONNECT ON DATABASE {} TO {traffic};\n\
             INSERT INTO tenantry.login_shard (shard) VALUES ({}) ON CONFLICT DO NOTHING;",
            verb(has_provisioner),
            verifier(&self.provisioner_key, &provisioner),
            verb(has_traffic),
            verifier(&self.traffic_key, &traffic),
            Ident(logins::PROVISIONERS),
            Ident(logins::TENANTS),
            Ident(logins::MIGRATORS),
            Ident(logins::ACCESS),
            Ident(&database_name),
            shard.number(),
            provisioner = Ident(provisioner.as_str()),
            traffic = Ident(traffic.as_str()),
        );
        killpoint!("postgres.logins", run(database, script).await)?;
        shards.ensured.insert(shard);
        tracing::info!(shard = shard.number(), "the logins of a shard are ready");
        Ok(())
    }
}

impl Shards {
    async fn reserve(&mut self, database: &PgPool, tenant: Uuid) -> Result<LoginShard, Error> {
        if let Some(shard) = self.reserved.get(&tenant) {
            return Ok(*shard);
        }
        let tenants = match &mut self.tenants {
            Some(tenants) => tenants,
            unread => unread.insert(count_tenants(database).await?),
        };
        let shard = LoginShard::with_room(tenants);
        let at = usize::try_from(shard.number()).unwrap_or_default();
        if at == tenants.len() {
            tenants.push(0);
        }
        tenants[at] += 1;
        self.reserved.insert(tenant, shard);
        Ok(shard)
    }
}

/// The tenants of each shard, retained ones too: a login still holds their roles.
async fn count_tenants(database: &PgPool) -> Result<Vec<usize>, Error> {
    let rows: Vec<(i16, i64)> = sqlx::query_as(
        "SELECT s.shard, count(t.name) FROM tenantry.login_shard s \
         LEFT JOIN tenantry.tenant t ON t.login_shard = s.shard GROUP BY s.shard",
    )
    .fetch_all(database)
    .await
    .map_err(Error::database("counting the tenants of the login shards"))?;
    let mut tenants = Vec::new();
    for (shard, count) in rows {
        let at = usize::try_from(shard).unwrap_or_default();
        if tenants.len() <= at {
            tenants.resize(at + 1, 0);
        }
        tenants[at] = usize::try_from(count).unwrap_or_default();
    }
    Ok(tenants)
}

fn verifier(key: &LoginKey, login: &LoginName) -> String {
    Literal(&verifier_of(&key.password(login))).to_string()
}

/// What Postgres keeps of a password. With it nobody can log in, so it may stand in SQL.
pub(super) fn verifier_of(password: &SecretString) -> String {
    postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes())
}

async fn run(database: &PgPool, script: String) -> Result<(), Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(script))
        .execute(database)
        .await
        .map(|_| ())
        .map_err(Error::database("making logins"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(tenants: Vec<usize>) -> Shards {
        Shards { tenants: Some(tenants), ..Shards::default() }
    }

    fn offline() -> PgPool {
        sqlx::postgres::PgPoolOptions::new().connect_lazy("postgres://127.0.0.1:1/none").unwrap()
    }

    #[tokio::test]
    async fn tenants_at_the_same_time_share_out_the_room() {
        let mut shards = shards(vec![LoginShard::CAPACITY - 1]);
        let database = offline();
        let first = shards.reserve(&database, Uuid::from_u128(1)).await.unwrap();
        let second = shards.reserve(&database, Uuid::from_u128(2)).await.unwrap();
        assert_eq!((first, second), (LoginShard::new(0), LoginShard::new(1)));
        assert_eq!(shards.reserve(&database, Uuid::from_u128(1)).await.unwrap(), first, "the same again");
    }

    #[tokio::test]
    async fn a_released_place_is_given_again() {
        let key = || LoginKey::new(SecretString::from("k".repeat(32))).unwrap();
        let logins = Logins::new(key(), key());
        *logins.shards.lock().await = shards(vec![LoginShard::CAPACITY]);
        logins.released(Uuid::from_u128(1), Some(LoginShard::new(0))).await;
        let mut shards = logins.shards.lock().await;
        assert_eq!(shards.reserve(&offline(), Uuid::from_u128(2)).await.unwrap(), LoginShard::new(0));
    }

    #[test]
    fn a_password_never_stands_in_sql() {
        let key = LoginKey::new(SecretString::from("k".repeat(32))).unwrap();
        let login = LoginShard::new(0).traffic();
        let text = verifier(&key, &login);
        assert!(
            text.starts_with("'SCRAM-SHA-256$4096:") && !text.contains(key.password(&login).expose_secret())
        );
    }
}
