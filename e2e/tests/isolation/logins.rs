//! What the database itself refuses, whatever our programs do: each login of the control plane tries what it must not.

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tenantry_e2e::{Credentials, Platform};
use tenantry_migrations::logins::{LoginKey, LoginName, LoginShard};
use tenantry_rig::Endpoints;

const DENIED: &str = "42501";

async fn login(endpoints: &Endpoints, name: &LoginName) -> PgConnection {
    let key = LoginKey::new(SecretString::from(Credentials::of(endpoints).traffic_key)).unwrap();
    let options: PgConnectOptions = endpoints.database_url.parse().unwrap();
    options.username(name.as_str()).password(key.password(name).expose_secret()).connect().await.unwrap()
}

/// Two Ready tenants of an app of their own, the schema of each, and the login that serves the first.
async fn two_tenants(endpoints: &Endpoints) -> ([String; 2], LoginName) {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let names = ["a", "b"].map(|which| format!("iso-{which}-{}", &unique[..10]));
    let manifests: String = names
        .iter()
        .map(|name| {
            format!(
                "apiVersion: tenantry.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\n\
                 spec: {{deletionPolicy: Delete}}\n---\n"
            )
        })
        .collect();
    let file = std::env::temp_dir().join(format!("{}.yaml", names[0]));
    std::fs::write(&file, manifests).unwrap();
    let path = file.to_str().unwrap();
    endpoints.kubectl(&["apply", "-f", path]).await.unwrap();
    endpoints.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "-f", path]).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    let mut admin = PgConnection::connect(&endpoints.database_url).await.unwrap();
    let shard: i16 = sqlx::query_scalar("SELECT login_shard FROM tenantry.tenant WHERE name = $1")
        .bind(&names[0])
        .fetch_one(&mut admin)
        .await
        .unwrap();
    (names.map(|name| format!("tenant_{}", name.replace('-', "_"))), LoginShard::new(shard).traffic())
}

/// Runs `sql` in a transaction that is always rolled back; the SQLSTATE of its refusal.
async fn refused(connection: &mut PgConnection, role: Option<&str>, sql: &str) -> String {
    let mut transaction = connection.begin().await.unwrap();
    if let Some(role) = role {
        let set = format!("SET LOCAL ROLE \"{role}\"");
        sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut *transaction).await.unwrap();
    }
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *transaction).await;
    transaction.rollback().await.unwrap();
    match outcome {
        Err(sqlx::Error::Database(error)) => error.downcast_ref::<PgDatabaseError>().code().to_owned(),
        other => panic!("{sql} was not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_control_plane_cannot_write_the_registry() {
    let platform = Platform::shared().await.unwrap();
    let mut connection = login(platform.endpoints(), &LoginName::control_plane()).await;
    for table in [
        "tenant",
        "tenant_host",
        "app_version",
        "tenant_app",
        "search_binding",
        "stream_binding",
        "login_shard",
    ] {
        let table = format!("tenantry.{table}");
        let column: String = sqlx::query_scalar(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum = 1",
        )
        .bind(&table)
        .fetch_one(&mut connection)
        .await
        .unwrap();
        for sql in [
            format!("INSERT INTO {table} DEFAULT VALUES"),
            format!("UPDATE {table} SET {column} = {column}"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table} CASCADE"),
        ] {
            assert_eq!(refused(&mut connection, None, &sql).await, DENIED, "{sql}");
        }
    }
    for sql in [
        "UPDATE tenantry.leader_epoch SET epoch = epoch + 1",
        "SELECT tenantry.fence(0)",
        "UPDATE tenantry.audit SET actor = 'x'",
        "DELETE FROM tenantry.audit",
        "CREATE TABLE tenantry.mine ()",
        "CREATE ROLE mine",
    ] {
        assert_eq!(refused(&mut connection, None, sql).await, DENIED, "{sql}");
    }
}

#[tokio::test]
async fn a_tenants_role_reaches_its_own_schema_and_nothing_else() {
    let platform = Platform::shared().await.unwrap();
    let ([own, other], traffic) = two_tenants(platform.endpoints()).await;
    let mut connection = login(platform.endpoints(), &traffic).await;

    let own_table = format!("SELECT count(*) FROM {own}.core_user");
    assert_eq!(refused(&mut connection, None, &own_table).await, DENIED, "the login itself has no rights");
    let mut allowed = connection.begin().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("SET LOCAL ROLE \"{own}\"; {own_table}")))
        .execute(&mut *allowed)
        .await
        .unwrap();
    allowed.rollback().await.unwrap();

    for sql in [
        format!("SELECT count(*) FROM {other}.core_user"),
        format!("DELETE FROM {other}.core_user"),
        format!("CREATE TABLE {own}.mine ()"),
        format!("DROP TABLE {own}.core_user"),
        format!("ALTER TABLE {own}.core_user ADD COLUMN x int"),
        format!("TRUNCATE {own}.core_user"),
        format!("SET LOCAL ROLE \"{own}_owner\""),
        "SELECT name FROM tenantry.tenant".to_owned(),
        "SELECT app FROM tenantry.outbox".to_owned(),
        "SELECT count(*) FROM tenantry.outbox_0".to_owned(),
        "UPDATE tenantry.audit SET actor = 'x'".to_owned(),
        "DELETE FROM tenantry.audit".to_owned(),
        // Row security: an event or an audit row in another's name.
        format!(
            "INSERT INTO tenantry.outbox (role, app, doc_type, doc_id, doc_version, operation) \
             VALUES ('{other}', 'core', 'user', '1', 1, 'Delete')"
        ),
        format!(
            "INSERT INTO tenantry.audit (role, actor, action, app, doc_type, doc_id, doc_version, request_id) \
             VALUES ('{other}', 'x', 'Create', 'core', 'user', '1', 1, '')"
        ),
        format!(
            "INSERT INTO tenantry.auth_session (id, role, user_id, expires_at, ends_at) \
             VALUES (gen_random_uuid(), '{other}', gen_random_uuid(), now(), now())"
        ),
        "SELECT id FROM tenantry.auth_change".to_owned(),
        "INSERT INTO tenantry.auth_change (role, id, version) VALUES (current_user, 'user x', 1)".to_owned(),
        format!("SELECT tenantry.note_auth_change('{other}', 'user x', 1, NULL)"),
        "SELECT count(*) FROM tenantry.auth_session_0".to_owned(),
        format!(
            "INSERT INTO tenantry.idempotency (role, id, part, asked, answer) VALUES ('{other}', 'x', 0, '', '[]')"
        ),
        "SELECT count(*) FROM tenantry.audit_seal".to_owned(),
        "DELETE FROM tenantry.audit_head".to_owned(),
        "UPDATE tenantry.audit_horizon SET upto = 0".to_owned(),
        "SELECT rolpassword FROM pg_authid".to_owned(),
        "SELECT pg_read_file('/etc/passwd')".to_owned(),
    ] {
        assert_eq!(refused(&mut connection, Some(&own), &sql).await, DENIED, "{sql}");
    }
    let mut admin = PgConnection::connect(&platform.endpoints().database_url).await.unwrap();
    // Whatever a tenant has any right to has row security, and so have all parts of it, whether a right to them exists or not.
    let unforced: Vec<String> = sqlx::query_scalar(
        "WITH shared AS (SELECT oid, relname, relkind, relispartition, relrowsecurity AND relforcerowsecurity AS forced, \
             has_any_column_privilege($1::text::name, oid, 'SELECT, INSERT, UPDATE, REFERENCES') \
             OR has_table_privilege($1::text::name, oid, 'DELETE, TRUNCATE, TRIGGER') AS reachable \
             FROM pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')) \
         SELECT relname::text FROM shared WHERE (reachable OR relkind = 'p' OR relispartition) AND NOT forced",
    )
    .bind(&own)
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(unforced.is_empty(), "row security is not forced on {unforced:?}");
    let reachable: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relkind IN ('r', 'p') \
         AND has_any_column_privilege($1::text::name, oid, 'SELECT, INSERT, UPDATE, REFERENCES') ORDER BY 1",
    )
    .bind(&own)
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(
        reachable,
        ["audit", "auth_attempt", "auth_factor", "auth_session", "auth_token", "idempotency", "outbox"],
        "a right to another table has to be meant"
    );
}
