//! The switch between shared and dedicated connections, in the database's order.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::{
    Credentials,
    cluster::{Cluster, condition_of},
    world::{World, unique},
};
use tenantry_migrations::logins::{LoginKey, LoginName, LoginShard};
use tenantry_rig::eventually;

use super::bystander::schema;

/// The way back waits for replicas to have heard, and is looked at by the clock.
const LIMIT: Duration = Duration::from_secs(60);

/// What a test works with: a tenant, and the cluster beside it.
pub struct Ground {
    /// The tenant that can hold code.
    pub world: World,
    /// What is in the backends.
    pub cluster: Cluster,
    /// The tenant's schema, which its DML role is called as well.
    pub schema: String,
}

impl Ground {
    /// A new tenant of a new app.
    pub async fn new() -> Self {
        Self::of(World::new().await).await
    }

    /// Around this tenant.
    pub async fn of(world: World) -> Self {
        let cluster = Cluster::of(world.platform.endpoints()).await;
        let schema = schema(&world.tenant);
        Self { world, cluster, schema }
    }

    /// Asks for accesses by level; connects as the last one. Yields once its credentials are there.
    pub async fn access(&self, level: &str) -> PgConnection {
        let secret = format!("{}-{}", self.world.tenant, level.to_lowercase());
        self.world.with("access", json!([access(level, &secret)])).await;
        eventually(&format!("Secret {secret}"), LIMIT, || async {
            let secrets = ["get", "secret", &secret, "-o", "jsonpath={.data.uri}"];
            let uri = self.world.platform.endpoints().kubectl(&secrets).await.map_err(|e| e.to_string())?;
            let text = base64_text(&uri);
            PgConnection::connect(&text).await.map_err(|error| error.to_string())
        })
        .await
        .unwrap()
    }

    /// The logins that may become the tenant's role.
    pub async fn may_become(&self) -> Vec<String> {
        let sql = format!(
            "SELECT rolname::text FROM pg_roles WHERE rolcanlogin AND NOT rolsuper \
             AND pg_has_role(oid, '{}', 'SET') ORDER BY 1",
            self.schema
        );
        self.cluster.texts(&sql).await
    }

    /// Waits until the condition about connections is there, or is not.
    pub async fn until_dedicated(&self, reason: Option<&str>) -> Option<String> {
        eventually(&format!("connections for {reason:?}"), LIMIT, || async {
            let api: kube::Api<Tenant> = self.world.api().await;
            let tenant = api.get(&self.world.tenant).await.map_err(|error| error.to_string())?;
            let condition = condition_of(&tenant, "DedicatedConnections");
            let found = condition.as_ref().map(|(_, reason, _)| reason.as_str());
            if found == reason {
                Ok(condition.map(|(_, _, message)| message))
            } else {
                Err(format!("{condition:?}"))
            }
        })
        .await
        .unwrap()
    }

    /// Waits until this is who may become the tenant's role.
    pub async fn until_may_become(&self, logins: &[&str]) {
        eventually(&format!("only {logins:?}"), LIMIT, || async {
            let found = self.may_become().await;
            if found == logins { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap();
    }

    /// The login that serves the tenant alone.
    pub fn own(&self) -> String {
        format!("{}-traffic", self.schema)
    }

    /// The login of the tenant's shard.
    pub async fn shard(&self) -> String {
        let sql =
            format!("SELECT login_shard::text FROM tenantry.tenant WHERE name = '{}'", self.world.tenant);
        let number: i16 = self.cluster.texts(&sql).await[0].parse().unwrap();
        LoginShard::new(number).traffic().to_string()
    }

    /// A session of a login whose password derives.
    pub async fn session_of(&self, login: &LoginName) -> PgConnection {
        let endpoints = self.world.platform.endpoints();
        let key = LoginKey::new(SecretString::from(Credentials::of(endpoints).traffic_key)).unwrap();
        let options: PgConnectOptions = endpoints.database_url.parse().unwrap();
        let options = options.username(login.as_str()).password(key.password(login).expose_secret());
        options.connect().await.unwrap()
    }

    /// The tenant is served: it writes a card and finds it.
    pub async fn is_served(&self) {
        let token = self.world.user("ann", &["reader", "writer"]).await;
        let title = unique("card-");
        let made = self.world.post(&self.world.cards("data"), &token, json!({"title": title})).await;
        assert_eq!(made.status, 201, "{made:?}");
        let found = self.world.get(&format!("{}?title=eq.{title}", self.world.cards("data")), &token).await;
        assert_eq!(found.body["items"][0]["title"], title, "{found:?}");
    }
}

fn access(level: &str, secret: &str) -> Value {
    json!({"name": level.to_lowercase(), "level": level, "secretRef": {"name": secret, "namespace": "default"}})
}

fn base64_text(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    String::from_utf8(STANDARD.decode(text.trim()).unwrap()).unwrap()
}

/// Runs SQL that must work.
pub async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
}

#[tokio::test]
async fn an_owner_brings_connections_of_its_own_and_takes_them_along() {
    let ground = Ground::new().await;
    let (own, shard) = (ground.own(), ground.shard().await);
    assert_eq!(ground.may_become().await, [shard.as_str()]);
    ground.is_served().await;
    let mut owner = ground.access("Owner").await;
    assert_eq!(ground.may_become().await, [own.as_str()], "before anybody can connect as the owner");
    ground.until_dedicated(Some("OwnerAccess")).await;
    ground.is_served().await;
    let sessions = format!("SELECT count(*)::text FROM pg_stat_activity WHERE usename = '{own}'");
    assert_ne!(ground.cluster.texts(&sessions).await, ["0"], "who serves it");

    // What the owner leaves keeps them.
    run(&mut owner, "CREATE FUNCTION left_over() RETURNS int LANGUAGE sql AS 'SELECT 1'").await;
    ground.world.with("access", json!([])).await;
    let message = ground.until_dedicated(Some("ForeignObjects")).await.unwrap();
    assert!(message.contains("left_over"), "{message}");
    let note = ground.cluster.until_note(&ground.world.tenant, "ForeignObjects", 1).await;
    assert!(note.contains("left_over"), "{note}");
    assert_eq!(ground.may_become().await, [own.as_str()]);
    ground.is_served().await;

    ground.cluster.run_sql(&format!("DROP FUNCTION {}.left_over()", ground.schema)).await;
    ground.cluster.nudge(&ground.world.tenant).await;
    ground.until_dedicated(None).await;
    ground.until_may_become(&[&shard]).await;
    ground.is_served().await;
    let there = format!("SELECT count(*)::text FROM pg_roles WHERE rolname = '{own}'");
    eventually("the own login is gone", LIMIT, || async {
        let found = ground.cluster.texts(&there).await;
        if found == ["0"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    ground.is_served().await;
}

#[tokio::test]
async fn connections_that_are_asked_for_follow_suspension() {
    let ground = Ground::new().await;
    let own = ground.own();
    ground.world.with("placement", json!({"connections": "Dedicated"})).await;
    ground.until_dedicated(Some("DedicatedRequested")).await;
    ground.until_may_become(&[&own]).await;
    ground.is_served().await;
    let login = LoginName::of_tenant(&tenantry_crds::names::TrafficLogin::of(
        &tenantry_crds::names::TenantName::new(&ground.world.tenant).unwrap(),
    ));
    let mut session = ground.session_of(&login).await;
    let api: kube::Api<Tenant> = ground.world.api().await;
    let suspend = |state: &str| json!({"spec": {"state": state}});
    let merge = async |patch: Value| {
        let patch = kube::api::Patch::Merge(patch);
        api.patch(&ground.world.tenant, &kube::api::PatchParams::default(), &patch).await.unwrap();
    };
    merge(suspend("Suspended")).await;
    let closed = format!("SELECT rolcanlogin::text FROM pg_roles WHERE rolname = '{own}'");
    eventually("the own login is closed", LIMIT, || async {
        let found = ground.cluster.texts(&closed).await;
        if found == ["false"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    eventually("its sessions are ended", LIMIT, || async {
        let sql = format!("SELECT count(*)::text FROM pg_stat_activity WHERE usename = '{own}'");
        let found = ground.cluster.texts(&sql).await;
        if found == ["0"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    assert!(session.ping().await.is_err(), "ours as well");
    merge(json!({"spec": {"state": "Active", "placement": {"connections": "Shared"}}})).await;
    ground.world.until_ready(&ground.world.tenant).await;
    ground.until_dedicated(None).await;
    ground.is_served().await;
}

#[tokio::test]
async fn a_grant_of_somebody_else_keeps_code_out() {
    let ground = Ground::new().await;
    let shard = ground.shard().await;
    // By a grantor whose grants the operator cannot revoke.
    ground.cluster.run_sql(&format!("GRANT {} TO {shard} WITH SET TRUE", ground.schema)).await;
    ground.world.with("access", json!([access("Owner", &unique("never-"))])).await;
    let found = eventually("it is refused", LIMIT, || async {
        let api: kube::Api<Tenant> = ground.world.api().await;
        let tenant = api.get(&ground.world.tenant).await.map_err(|error| error.to_string())?;
        match condition_of(&tenant, "DatabaseReady") {
            Some((status, reason, message)) if status == "False" && reason == "ForeignGrant" => Ok(message),
            other => Err(format!("{other:?}")),
        }
    });
    let message = found.await.unwrap();
    assert!(message.contains(&shard) && message.contains("postgres"), "login and grantor: {message}");
    let owners = format!(
        "SELECT m.member::regrole::text FROM pg_auth_members m WHERE m.roleid = '{}_owner'::regrole AND m.set_option \
         AND m.member::regrole::text NOT LIKE 'tenantry_provisioner%'",
        ground.schema
    );
    assert_eq!(ground.cluster.texts(&owners).await, [""; 0], "nobody became the owner");
    ground.is_served().await;
    ground.cluster.run_sql(&format!("REVOKE {} FROM {shard} GRANTED BY CURRENT_USER", ground.schema)).await;
    ground.cluster.nudge(&ground.world.tenant).await;
    ground.until_dedicated(Some("OwnerAccess")).await;
    ground.is_served().await;
}

/// I30: a group that took the role before it was revoked goes on.
#[tokio::test]
async fn nobody_becomes_the_owner_while_an_older_transaction_may_go_on() {
    let ground = Ground::new().await;
    let sql = format!("SELECT login_shard::text FROM tenantry.tenant WHERE name = '{}'", ground.world.tenant);
    let number: i16 = ground.cluster.texts(&sql).await[0].parse().unwrap();
    let mut older = ground.session_of(&LoginShard::new(number).traffic()).await;
    run(&mut older, &format!("BEGIN; SET LOCAL ROLE {}", ground.schema)).await;
    let secret = unique("late-");
    ground.world.with("access", json!([access("Owner", &secret)])).await;
    let owners = format!(
        "SELECT count(*)::text FROM pg_auth_members m WHERE m.roleid = '{}_owner'::regrole AND m.set_option \
         AND m.member::regrole::text NOT LIKE 'tenantry_provisioner%'",
        ground.schema
    );
    let mut refused = false;
    loop {
        let granted = ground.cluster.texts(&owners).await != ["0"];
        let goes_on = older.ping().await.is_ok();
        assert!(!(granted && goes_on), "both at once");
        if granted {
            break;
        }
        refused |= goes_on && ground.may_become().await == [ground.own()];
    }
    assert!(refused, "the shard's login had lost the role while the transaction went on");
}

#[tokio::test]
async fn a_login_that_alters_itself_is_made_anew() {
    let ground = Ground::new().await;
    ground.world.with("placement", json!({"connections": "Dedicated"})).await;
    ground.until_dedicated(Some("DedicatedRequested")).await;
    let name = tenantry_crds::names::TenantName::new(&ground.world.tenant).unwrap();
    let login = LoginName::of_tenant(&tenantry_crds::names::TrafficLogin::of(&name));
    let mut own = ground.session_of(&login).await;
    run(&mut own, "ALTER ROLE CURRENT_USER SET statement_timeout = '1ms'").await;
    run(&mut own, "ALTER ROLE CURRENT_USER SET search_path = 'pg_temp'").await;
    run(&mut own, "ALTER ROLE CURRENT_USER PASSWORD 'known'").await;
    ground.cluster.nudge(&ground.world.tenant).await;
    eventually("password and settings are ours again", LIMIT, || async {
        let sql =
            format!("SELECT count(*)::text FROM pg_db_role_setting WHERE setrole = '\"{login}\"'::regrole");
        let found = ground.cluster.texts(&sql).await;
        if found == ["0"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    drop(ground.session_of(&login).await);
    ground.is_served().await;
}

/// A session that has become the owner stays so to its end, whatever is taken from its login.
#[tokio::test]
async fn an_access_that_is_lowered_loses_its_sessions() {
    let ground = Ground::new().await;
    let mut owner = ground.access("Owner").await;
    run(&mut owner, "CREATE TABLE mine (n int)").await;
    let secret = format!("{}-owner", ground.world.tenant);
    let mut lowered = access("Owner", &secret);
    lowered["level"] = json!("Read");
    ground.world.with("access", json!([lowered])).await;
    eventually("the level is in force", LIMIT, || async {
        let level = format!("SELECT level FROM tenantry.access WHERE tenant = '{}'", ground.world.tenant);
        let found = ground.cluster.texts(&level).await;
        if found == ["Read"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    assert!(sqlx::raw_sql("CREATE TABLE more (n int)").execute(&mut owner).await.is_err());
}
