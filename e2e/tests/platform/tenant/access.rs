//! Direct access: what the Secrets open, and what they do not.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tenantry_crds::names::{AccessName, AccessRole, AppName, QueueName, RedisKey, TenantName};
use tenantry_crds::v1alpha1::Tenant;
use tenantry_e2e::cluster::{Cluster, LIMIT, condition_of, operate};
use tenantry_e2e::manifests::{customer, search_of, shop, uses};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::{Stack, eventually};

pub type Values = BTreeMap<String, String>;

async fn secrets(cluster: &Cluster) -> Api<Secret> {
    Api::namespaced(cluster.endpoints.kube_client().await.unwrap(), "default")
}

/// What is in a Secret; nothing when there is none.
pub async fn secret_values(cluster: &Cluster, name: &str) -> Option<Values> {
    let secret = secrets(cluster).await.get_opt(name).await.unwrap()?;
    let data = secret.data.unwrap_or_default().into_iter();
    Some(data.map(|(key, value)| (key, String::from_utf8(value.0).unwrap())).collect())
}

/// Waits until the Secret is as `right` says.
async fn until_secret(cluster: &Cluster, name: &str, right: impl Fn(&Values) -> bool) -> Values {
    eventually(&format!("Secret {name}"), LIMIT, || async {
        let values = secret_values(cluster, name).await.ok_or("there is none")?;
        if right(&values) { Ok(values) } else { Err("not yet".to_owned()) }
    })
    .await
    .unwrap()
}

async fn until_no_secret(cluster: &Cluster, name: &str) {
    eventually(&format!("Secret {name} is gone"), LIMIT, || async {
        secret_values(cluster, name).await.map_or(Ok(()), |_| Err("still there"))
    })
    .await
    .unwrap();
}

async fn status(cluster: &Cluster, tenant: &str) -> Value {
    let api: Api<Tenant> = Api::all(cluster.endpoints.kube_client().await.unwrap());
    serde_json::to_value(api.get(tenant).await.unwrap().status.unwrap()).unwrap()
}

pub fn access(name: &str, level: &str, secret: &str) -> Value {
    json!({"name": name, "level": level, "secretRef": {"name": secret, "namespace": "default"}})
}

fn with_access(app: &str, access: Vec<Value>) -> Value {
    json!({"apps": [{"name": app}], "deletionPolicy": "Delete", "access": access})
}

pub async fn login(values: &Values) -> sqlx::Result<PgConnection> {
    PgConnection::connect(&values["uri"]).await
}

pub async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), String> {
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(connection).await;
    done.map(|_| ()).map_err(|error| match error.as_database_error() {
        Some(error) => error.code().unwrap_or_default().into_owned(),
        None => error.to_string(),
    })
}

const DENIED: &str = "42501";

#[tokio::test]
async fn each_level_may_do_its_own_and_nothing_elsewhere() {
    let cluster = Cluster::shared().await;
    cluster.app("levels", shop("1.0.0", customer())).await;
    cluster.tenant("levels-two", uses("levels", "Delete")).await;
    let wanted = ["Read", "Write", "Owner"]
        .map(|level| access(&level.to_lowercase(), level, &format!("levels-{}", level.to_lowercase())));
    cluster.tenant("levels-one", with_access("levels", wanted.to_vec())).await;
    cluster.until_ready("levels-two").await;
    let tenant = cluster.until_ready("levels-one").await;
    assert_eq!(condition_of(&tenant, "AccessReady").unwrap().2, "3 accesses in place");
    let status = tenant.status.unwrap();
    assert!(status.not_supported.is_empty());
    assert_eq!(status.access.len(), 3);

    let read = secret_values(&cluster, "levels-read").await.unwrap();
    let secret = secrets(&cluster).await.get("levels-read").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("servicebinding.io/postgresql"));
    for (key, value) in [
        ("type", "postgresql"),
        ("provider", "tenantry"),
        ("schema", "tenant_levels_one"),
        ("username", &status.access[0].username),
        ("sslmode", "prefer"),
        ("generation", "1"),
    ] {
        assert_eq!(read[key], value, "{key}");
    }
    for key in ["host", "port", "database", "password", "uri", "jdbc-uri", "pgpass", "role"] {
        assert!(!read[key].is_empty(), "{key}");
    }
    let mut reader = login(&read).await.unwrap();
    let mut writer = login(&secret_values(&cluster, "levels-write").await.unwrap()).await.unwrap();
    let mut owner = login(&secret_values(&cluster, "levels-owner").await.unwrap()).await.unwrap();

    let insert = "INSERT INTO levels_customer (id, name, created_by, updated_by)
                  VALUES (gen_random_uuid(), 'Ada', 'a', 'a')";
    run(&mut writer, insert).await.unwrap();
    run(&mut writer, "UPDATE levels_customer SET region = 'north'").await.unwrap();
    run(&mut writer, "SELECT nextval('\"levels_order-id-series\"')").await.unwrap();
    run(&mut reader, "SELECT name FROM levels_customer").await.unwrap();
    for sql in [insert, "DELETE FROM levels_customer", "SELECT nextval('\"levels_order-id-series\"')"] {
        assert_eq!(run(&mut reader, sql).await, Err(DENIED.into()), "{sql}");
    }
    // Each does what its level may, also where a later version or an owner made the table.
    run(&mut owner, "CREATE TABLE notes (text text)").await.unwrap();
    cluster
        .app("levels", {
            let mut next = shop("1.1.0", customer());
            next["docTypes"]
                .as_array_mut()
                .unwrap()
                .push(json!({"name": "later", "fields": [{"name": "name", "type": "String"}]}));
            next
        })
        .await;
    eventually("the table is there", LIMIT, || async {
        let tables = columns_or_none(&cluster, "tenant_levels_one.levels_later").await;
        if tables { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    for table in ["notes", "levels_later"] {
        run(&mut reader, &format!("SELECT * FROM {table}")).await.unwrap();
        assert_eq!(run(&mut reader, &format!("DELETE FROM {table}")).await, Err(DENIED.into()), "{table}");
        run(&mut writer, &format!("DELETE FROM {table}")).await.unwrap();
    }
    let owner_of_notes =
        "SELECT tableowner FROM pg_tables WHERE tablename = 'notes' AND schemaname = 'tenant_levels_one'";
    assert_eq!(cluster.texts(owner_of_notes).await, ["tenant_levels_one_owner"]);

    for (who, connection) in [("reader", &mut reader), ("writer", &mut writer), ("owner", &mut owner)] {
        for sql in [
            "SELECT name FROM tenantry.tenant",
            "SELECT name FROM tenant_levels_two.levels_customer",
            "SET ROLE tenant_levels_two",
            "SET ROLE tenant_levels_one",
            "CREATE SCHEMA mine",
            "CREATE TABLE public.mine (n int)",
            "CREATE TEMPORARY TABLE mine (n int)",
            "CREATE ROLE mine",
            "SELECT passwd FROM pg_shadow",
            // What `bootstrap` took from everybody: these belong to no tenant.
            "SELECT lo_from_bytea(0, 'x')",
            "SELECT lo_create(0)",
            "SELECT pg_advisory_lock(1)",
            "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
        ] {
            assert_eq!(run(connection, sql).await, Err(DENIED.into()), "{who}: {sql}");
        }
    }
    for connection in [&mut reader, &mut writer] {
        for sql in ["CREATE TABLE mine (n int)", "SET ROLE tenant_levels_one_owner", "DROP TABLE notes"] {
            assert_eq!(run(connection, sql).await, Err(DENIED.into()), "{sql}");
        }
    }
    let timeout: String = sqlx::query_scalar("SHOW statement_timeout").fetch_one(&mut reader).await.unwrap();
    assert_eq!(timeout, "5min");

    // A level that shrinks takes its rights back at once, from whoever is in.
    let shrunk = with_access(
        "levels",
        vec![access("write", "Read", "levels-write"), access("owner", "Read", "levels-owner")],
    );
    cluster.tenant("levels-one", shrunk).await;
    until_no_secret(&cluster, "levels-read").await;
    cluster.until_ready("levels-one").await;
    assert_eq!(run(&mut writer, "DELETE FROM levels_customer").await, Err(DENIED.into()));
    run(&mut writer, "SELECT name FROM levels_customer").await.unwrap();
    let mut owner = login(&secret_values(&cluster, "levels-owner").await.unwrap()).await.unwrap();
    assert_eq!(run(&mut owner, "DROP TABLE notes").await, Err(DENIED.into()));
    assert!(run(&mut reader, "SELECT 1").await.is_err(), "who is in is put out");
    assert_eq!(refusal(&read).await, "28P01");
}

/// Why Postgres refuses a login: the SQLSTATE.
pub async fn refusal(values: &Values) -> String {
    match login(values).await {
        Ok(_) => "let in".to_owned(),
        Err(sqlx::Error::Database(error)) => error.code().unwrap_or_default().into_owned(),
        Err(error) => error.to_string(),
    }
}

async fn columns_or_none(cluster: &Cluster, table: &str) -> bool {
    cluster.texts(&format!("SELECT coalesce(to_regclass('{table}')::text, 'none')")).await != ["none"]
}

#[tokio::test]
async fn a_rotation_overlaps_and_then_the_old_login_is_refused() {
    let cluster = Cluster::shared().await;
    cluster.app("turning", shop("1.0.0", customer())).await;
    let mut by_hand = access("hand", "Read", "turning-hand");
    by_hand["rotation"] = json!({"everySeconds": 86400, "overlapSeconds": 3});
    cluster.tenant("turning-one", with_access("turning", vec![by_hand])).await;
    cluster.until_ready("turning-one").await;
    let first = secret_values(&cluster, "turning-hand").await.unwrap();
    let mut session = login(&first).await.unwrap();
    assert!(!first.contains_key("previous-username"));

    cluster.annotate("turning-one", "tenantry.dev/rotate", "1").await;
    let second = until_secret(&cluster, "turning-hand", |values| values["generation"] == "2").await;
    cluster.until_ready("turning-one").await;
    assert_eq!(second["previous-username"], first["username"]);
    assert_ne!(second["username"], first["username"]);
    assert_ne!(second["password"], first["password"]);
    login(&second).await.unwrap();
    login(&first).await.unwrap();
    run(&mut session, "SELECT name FROM turning_customer").await.unwrap();
    let told = &status(&cluster, "turning-one").await["access"][0];
    assert_eq!(told["username"], second["username"].as_str());
    assert_eq!(told["lastHandledRotate"], "1");
    assert!(told["previousUntil"].is_string() && told["nextRotationAt"].is_string(), "{told}");

    // Nobody asks for a pass: the end of the overlap does.
    let over =
        until_secret(&cluster, "turning-hand", |values| !values.contains_key("previous-username")).await;
    assert_eq!(over["password"], second["password"]);
    assert!(["28000", "28P01"].contains(&refusal(&first).await.as_str()));
    assert!(run(&mut session, "SELECT 1").await.is_err(), "who is in is put out");
    login(&second).await.unwrap();
    let told = status(&cluster, "turning-one").await;
    assert!(told["access"][0]["previousUntil"].is_null(), "{told}");
}

#[tokio::test]
async fn a_schedule_rotates_by_itself() {
    let cluster = Cluster::shared().await;
    let mut scheduled = access("clock", "Read", "ticking-clock");
    scheduled["rotation"] = json!({"everySeconds": 4, "overlapSeconds": 1});
    let mut spec = with_access("none", vec![scheduled.clone()]);
    spec["apps"] = json!([]);
    cluster.tenant("ticking-one", spec.clone()).await;
    cluster.until_ready("ticking-one").await;
    let third = until_secret(&cluster, "ticking-clock", |values| values["generation"] == "3").await;
    login(&third).await.unwrap();
    // The same login as the first, with another password.
    let fourth = until_secret(&cluster, "ticking-clock", |values| values["generation"] == "4").await;
    assert_ne!(third["username"], fourth["username"]);
    scheduled["rotation"]["everySeconds"] = json!(86400);
    spec["access"] = json!([scheduled]);
    cluster.tenant("ticking-one", spec).await;
    cluster.until_ready("ticking-one").await;
}

#[tokio::test]
async fn a_secret_that_is_lost_or_edited_is_made_right() {
    let cluster = Cluster::shared().await;
    let spec = json!({"deletionPolicy": "Delete", "access": [access("healed", "Write", "healed")]});
    cluster.tenant("healed-one", spec).await;
    cluster.until_ready("healed-one").await;
    let first = secret_values(&cluster, "healed").await.unwrap();
    let secrets = secrets(&cluster).await;

    secrets.delete("healed", &DeleteParams::default()).await.unwrap();
    let second = until_secret(&cluster, "healed", |values| values.contains_key("password")).await;
    assert_eq!(second["username"], first["username"]);
    assert_ne!(second["password"], first["password"]);
    eventually("the login has the new password", LIMIT, || async {
        login(&second).await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    assert_eq!(refusal(&first).await, "28P01");

    let edit = |values: Value| {
        let patch = Patch::Merge(json!({"stringData": values}));
        let secrets = secrets.clone();
        async move { secrets.patch("healed", &PatchParams::default(), &patch).await.unwrap() }
    };
    edit(json!({"password": "hunter2", "mine": "stays"})).await;
    let third = until_secret(&cluster, "healed", |values| values["password"] != "hunter2").await;
    assert_eq!(third["mine"], "stays");
    eventually("the login has the new password", LIMIT, || async {
        login(&third).await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    edit(json!({"host": "elsewhere.example.com"})).await;
    let fourth = until_secret(&cluster, "healed", |values| values["host"] == third["host"]).await;
    assert_eq!(fourth["password"], third["password"], "it was right");
}

#[tokio::test]
async fn a_foreign_secret_or_role_is_left_alone() {
    let cluster = Cluster::shared().await;
    let secrets = secrets(&cluster).await;
    let foreign = json!({"metadata": {"name": "foreign"}, "stringData": {"password": "theirs"}});
    secrets.create(&PostParams::default(), &serde_json::from_value(foreign).unwrap()).await.unwrap();
    let spec =
        |secret: &str| json!({"deletionPolicy": "Delete", "access": [access("taker", "Read", secret)]});
    cluster.tenant("taking-one", spec("foreign")).await;
    let tenant = cluster.until("taking-one", "Stalled", "True", "SecretConflict").await;
    assert!(condition_of(&tenant, "AccessReady").unwrap().2.contains("default/foreign"));
    assert_eq!(secret_values(&cluster, "foreign").await.unwrap()["password"], "theirs");

    cluster.tenant("taking-one", spec("taken")).await;
    cluster.until_ready("taking-one").await;
    cluster.tenant("taking-two", spec("taken")).await;
    let tenant = cluster.until("taking-two", "Stalled", "True", "SecretConflict").await;
    assert!(condition_of(&tenant, "AccessReady").unwrap().2.contains("tenant taking-one"));
    cluster.delete::<Tenant>("taking-one").await;
    cluster.nudge("taking-two").await;
    cluster.until_ready("taking-two").await;
    let values = secret_values(&cluster, "taken").await.unwrap();
    assert_eq!(values["schema"], "tenant_taking_two");

    let missing = json!({"deletionPolicy": "Delete", "access": [
        {"name": "far", "level": "Read", "secretRef": {"name": "far", "namespace": "taking-far"}}]});
    cluster.tenant("taking-three", missing).await;
    cluster.until("taking-three", "Stalled", "True", "NamespaceNotFound").await;
    cluster.endpoints.kubectl(&["create", "namespace", "taking-far"]).await.unwrap();
    cluster.nudge("taking-three").await;
    cluster.until_ready("taking-three").await;

    let role = AccessRole::of(&TenantName::new("taking-four").unwrap(), &AccessName::new("taker").unwrap());
    cluster.run_sql(&format!("CREATE ROLE {role}")).await;
    cluster.tenant("taking-four", spec("taking-four")).await;
    cluster.until("taking-four", "Stalled", "True", "NameConflict").await;
    cluster.run_sql(&format!("DROP ROLE {role}")).await;
    cluster.nudge("taking-four").await;
    cluster.until_ready("taking-four").await;
}

#[tokio::test]
async fn credentials_go_with_the_tenant_under_every_policy() {
    let cluster = Cluster::shared().await;
    for policy in ["Retain", "Delete"] {
        let name = format!("leaving-{}", policy.to_lowercase());
        let spec = json!({"deletionPolicy": policy, "access": [access("last", "Owner", &name)]});
        cluster.tenant(&name, spec).await;
        cluster.until_ready(&name).await;
        let values = secret_values(&cluster, &name).await.unwrap();
        let mut session = login(&values).await.unwrap();
        run(&mut session, "CREATE TABLE mine (n int)").await.unwrap();
        // Where bootstrap could not take these functions from everybody, a login and an owner can have large objects.
        for role in [&values["username"], &values["role"]] {
            let object =
                format!("EXECUTE format('ALTER LARGE OBJECT %s OWNER TO %I', lo_create(0), '{role}')");
            cluster.run_sql(&format!("DO $$ BEGIN {object}; END $$")).await;
        }
        cluster.delete::<Tenant>(&name).await;
        assert_eq!(secret_values(&cluster, &name).await, None);
        assert!(run(&mut session, "SELECT 1").await.is_err());
        assert_eq!(refusal(&values).await, "28P01");
        let role = AccessRole::of(&TenantName::new(&name).unwrap(), &AccessName::new("last").unwrap());
        let left = format!("SELECT rolname::text FROM pg_roles WHERE rolname LIKE '{role}%'");
        assert_eq!(cluster.texts(&left).await, [""; 0]);
        let rows = format!("SELECT access FROM tenantry.access WHERE tenant = '{name}'");
        assert_eq!(cluster.texts(&rows).await, [""; 0]);
    }
}

const BOTH: &str = "both";

fn beyond(level: &str, secret: &str, backends: Value) -> Value {
    let mut access = access(BOTH, level, secret);
    access["backends"] = backends;
    access
}

/// Runs one command as the user of a Secret: the answer, or the code of the refusal.
pub async fn command(values: &Values, words: &[&str]) -> Result<redis::Value, String> {
    let client = redis::Client::open(values["uri"].as_str()).unwrap();
    let code = |error: redis::RedisError| match error.kind() {
        redis::ErrorKind::AuthenticationFailed => "WRONGPASS".to_owned(),
        _ => error.code().map_or_else(|| error.to_string(), str::to_owned),
    };
    let mut connection = client.get_multiplexed_async_connection().await.map_err(code)?;
    redis::cmd(words[0]).arg(&words[1..]).query_async(&mut connection).await.map_err(code)
}

#[tokio::test]
async fn redis_users_reach_the_tenant_s_queues_only() {
    let cluster = Cluster::shared().await;
    cluster.app("queues", shop("1.0.0", customer())).await;
    let spec = |level: &str, rotation: Value| {
        let mut access = beyond(level, "queues", json!(["Redis"]));
        access["rotation"] = rotation;
        with_access("queues", vec![access])
    };
    let slow = json!({"everySeconds": 86400, "overlapSeconds": 3});
    cluster.tenant("queues-one", spec("Write", slow.clone())).await;
    cluster.tenant("queues-two", uses("queues", "Delete")).await;
    cluster.until_ready("queues-one").await;
    cluster.until_ready("queues-two").await;
    assert_eq!(secret_values(&cluster, "queues").await, None, "Postgres is not among the backends");
    let first = secret_values(&cluster, "queues-redis").await.unwrap();
    let queue = |tenant: &str| {
        let name = TenantName::new(tenant).unwrap();
        RedisKey::queue(&name, &AppName::new("queues").unwrap(), &QueueName::new("default").unwrap())
            .to_string()
    };
    let (mine, theirs) = (queue("queues-one"), queue("queues-two"));
    assert!(mine.starts_with(&first["stream-prefix"]) && first["group"] == "workers");
    command(&first, &["XADD", &mine, "*", "id", "1"]).await.unwrap();
    let denied = Err("NOPERM".to_owned());
    for words in [
        vec!["XADD", &theirs, "*", "id", "1"],
        vec!["XRANGE", &theirs, "-", "+"],
        vec!["SET", &mine, "1"],
        vec!["DEL", &mine],
        vec!["XGROUP", "DESTROY", &mine, "workers"],
        vec!["KEYS", "*"],
        vec!["ACL", "LIST"],
        vec!["CONFIG", "GET", "*"],
        vec!["FLUSHALL"],
        vec!["EVAL", "return 1", "0"],
    ] {
        assert_eq!(command(&first, &words).await, denied, "{words:?}");
    }

    // Nothing is written when nothing changed, and a user that Redis forgot is back with its password.
    let writes = set_users(&cluster).await;
    let edited = Patch::Merge(json!({"stringData": {"host": "elsewhere"}}));
    secrets(&cluster).await.patch("queues-redis", &PatchParams::default(), &edited).await.unwrap();
    until_secret(&cluster, "queues-redis", |values| values["host"] == first["host"]).await;
    assert_eq!(set_users(&cluster).await, writes);
    cluster.redis_command(&["ACL", "DELUSER", &first["username"]]).await;
    cluster.nudge("queues-one").await;
    eventually("the user is back", LIMIT, || async { command(&first, &["XLEN", &mine]).await })
        .await
        .unwrap();

    cluster.annotate("queues-one", "tenantry.dev/rotate", "1").await;
    let second = until_secret(&cluster, "queues-redis", |values| values["generation"] == "2").await;
    command(&second, &["XLEN", &mine]).await.unwrap();
    command(&first, &["XLEN", &mine]).await.unwrap();
    until_secret(&cluster, "queues-redis", |values| !values.contains_key("previous-username")).await;
    assert_eq!(command(&first, &["XLEN", &mine]).await, Err("WRONGPASS".into()));

    cluster.tenant("queues-one", spec("Read", slow)).await;
    eventually("the level is lower", LIMIT, || async {
        let refused = command(&second, &["XADD", &mine, "*", "id", "2"]).await;
        if refused == denied { Ok(()) } else { Err(format!("{refused:?}")) }
    })
    .await
    .unwrap();
    command(&second, &["XRANGE", &mine, "-", "+"]).await.unwrap();
    cluster.tenant("queues-one", uses("queues", "Delete")).await;
    until_no_secret(&cluster, "queues-redis").await;
    assert_eq!(command(&second, &["PING"]).await, Err("WRONGPASS".into()));
}

#[tokio::test]
async fn search_keys_open_the_tenant_s_indexes_only() {
    let cluster = Cluster::shared().await;
    cluster.app("found", shop("1.0.0", customer())).await;
    let with_key = |level: &str| {
        let mut access = beyond(level, "found", json!(["Postgres", "Search"]));
        access["rotation"] = json!({"everySeconds": 86400, "overlapSeconds": 3});
        with_access("found", vec![access])
    };
    cluster.tenant("found-one", with_key("Read")).await;
    cluster.tenant("found-two", uses("found", "Delete")).await;
    cluster.until_ready("found-one").await;
    let early = secret_values(&cluster, "found-search").await.unwrap();
    assert_eq!(query(&early, "found-one_found_customer").await, 403, "there is no index yet");
    cluster.search_index("found", search_of("found")).await;
    eventually("the index is open", LIMIT, || async {
        let status = query(&early, "found-one_found_customer").await;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .await
    .unwrap();
    cluster.until_ready("found-two").await;
    for index in ["found-two_found_customer", "elsewhere"] {
        assert_eq!(query(&early, index).await, 403, "{index}");
    }
    let documents = "indexes/found-one_found_customer/documents";
    assert_eq!(ask(&early, Method::POST, documents).await, 403);
    assert_eq!(ask(&early, Method::GET, "keys").await, 403);
    assert_eq!(ask(&early, Method::DELETE, "indexes/found-one_found_customer").await, 403);

    cluster.annotate("found-one", "tenantry.dev/rotate", "1").await;
    let second = until_secret(&cluster, "found-search", |values| values["generation"] == "2").await;
    assert_ne!(second["api-key"], early["api-key"]);
    assert_eq!(query(&second, "found-one_found_customer").await, 200);
    assert_eq!(query(&early, "found-one_found_customer").await, 200);
    until_secret(&cluster, "found-search", |values| !values.contains_key("previous-username")).await;
    assert_eq!(query(&early, "found-one_found_customer").await, 403);

    // Taken away in the engine, it is back, the same.
    let url = format!("{}/keys/{}", cluster.endpoints.meili_url, second["key-uid"]);
    let removed =
        http_client().unwrap().delete(url).bearer_auth(&cluster.endpoints.meili_master_key).send().await;
    assert_eq!(removed.unwrap().status(), 204);
    cluster.nudge("found-one").await;
    eventually("the key is back", LIMIT, || async {
        let status = query(&second, "found-one_found_customer").await;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .await
    .unwrap();

    cluster.tenant("found-one", uses("found", "Delete")).await;
    until_no_secret(&cluster, "found-search").await;
    assert_eq!(query(&second, "found-one_found_customer").await, 403);
    until_no_secret(&cluster, "found").await;
}

pub async fn query(values: &Values, index: &str) -> u16 {
    ask(values, Method::POST, &format!("indexes/{index}/search")).await
}

/// The status of a request with the key of a Secret.
async fn ask(values: &Values, method: Method, path: &str) -> u16 {
    let request = http_client().unwrap().request(method, format!("{}/{path}", values["uri"]));
    let answer = request.bearer_auth(&values["api-key"]).json(&json!({})).send().await.unwrap();
    answer.status().as_u16()
}

/// How often Redis was told what a user may do.
async fn set_users(cluster: &Cluster) -> String {
    let stats = cluster.redis_command(&["INFO", "commandstats"]).await;
    let stats: String = redis::from_redis_value(stats).unwrap();
    let line = stats.lines().find(|line| line.starts_with("cmdstat_acl|setuser:"));
    line.and_then(|line| line.split(',').next()).unwrap().to_owned()
}

#[tokio::test]
async fn a_password_is_in_its_secret_only_and_a_restart_changes_none() {
    let stack = Stack::private("Postgres logs every statement, and the operator is stopped").await.unwrap();
    let cluster = Cluster::of(stack.endpoints()).await;
    cluster.run_sql("ALTER SYSTEM SET log_statement = 'all'").await;
    cluster.run_sql("SELECT pg_reload_conf()").await;
    let operator = operate(&stack).await;
    cluster.app("quiet", shop("1.0.0", customer())).await;
    cluster.search_index("quiet", search_of("quiet")).await;
    let mut all = access("all", "Owner", "quiet");
    all["backends"] = json!(["Postgres", "Redis", "Search"]);
    all["rotation"] = json!({"everySeconds": 86400, "overlapSeconds": 2});
    cluster.tenant("quiet-one", with_access("quiet", vec![all])).await;
    cluster.until_ready("quiet-one").await;
    let names = ["quiet", "quiet-redis", "quiet-search"];
    let mut passwords = Vec::new();
    let mut collect = async || {
        for name in names {
            passwords.push(secret_values(&cluster, name).await.unwrap()["password"].clone());
        }
    };
    collect().await;
    cluster.annotate("quiet-one", "tenantry.dev/rotate", "1").await;
    for name in names {
        until_secret(&cluster, name, |v| v["generation"] == "2" && !v.contains_key("previous-username"))
            .await;
    }
    collect().await;

    // What was lost while no operator ran is made again, and nothing else is.
    let before = secret_values(&cluster, "quiet-search").await;
    operator.server().stop().await.unwrap();
    secrets(&cluster).await.delete("quiet", &DeleteParams::default()).await.unwrap();
    let kept = secret_values(&cluster, "quiet-redis").await.unwrap();
    cluster.redis_command(&["ACL", "DELUSER", &kept["username"]]).await;
    operator.server().start().await.unwrap();
    until_secret(&cluster, "quiet", |values| values.contains_key("password")).await;
    eventually("the user is back", LIMIT, || async { command(&kept, &["PING"]).await }).await.unwrap();
    assert_eq!(secret_values(&cluster, "quiet-redis").await.unwrap(), kept);
    assert_eq!(secret_values(&cluster, "quiet-search").await, before);
    collect().await;
    let spec = uses("quiet", "Delete");
    cluster.tenant("quiet-one", spec).await;
    for name in names {
        until_no_secret(&cluster, name).await;
    }

    let mut told = vec![status(&cluster, "quiet-one").await.to_string()];
    told.push(cluster.endpoints.kubectl(&["get", "events", "-A", "-o", "json"]).await.unwrap());
    told.push(
        cluster.endpoints.kubectl(&["get", "tenants", "-o", "json", "--show-managed-fields"]).await.unwrap(),
    );
    told.push(cluster.texts("SELECT query FROM pg_stat_activity WHERE query IS NOT NULL").await.join("\n"));
    told.push(cluster.texts("SELECT row_to_json(a)::text FROM tenantry.access a").await.join("\n"));
    let statements = std::fs::read_to_string(stack.postgres().unwrap().process().log()).unwrap();
    assert!(statements.contains("SCRAM-SHA-256$"), "the statements are in the log");
    told.push(statements);
    for server in [stack.redis(), stack.meilisearch(), stack.kube_apiserver()] {
        told.push(std::fs::read_to_string(server.unwrap().process().log()).unwrap_or_default());
    }
    let log = std::fs::read_to_string(operator.process().log()).unwrap();
    assert!(log.contains("quiet-one"));
    told.push(log);
    assert_eq!(passwords.len(), 9);
    for text in &told {
        for password in &passwords {
            assert!(!text.contains(password.as_str()), "a password is told");
        }
    }
}
