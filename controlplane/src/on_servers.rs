//! What the shared tables are to the logins of tenants and to more than one process, on a real server.

use std::{convert::Infallible, time::Duration};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenantry_migrations::{changes, platform};
use tokio_util::sync::CancellationToken;

use crate::{
    database::Login,
    duty::{Duty, Lease, Lost, Name},
    fixture::Fixture,
};

const DENIED: &str = "42501";

async fn connect(fixture: &Fixture) -> PgConnection {
    PgConnection::connect(&fixture.url).await.unwrap()
}

/// The SQLSTATE with which `sql` is refused to `role`, if it is.
async fn refused(connection: &mut PgConnection, role: &str, sql: &str) -> Option<String> {
    let mut transaction = connection.begin().await.unwrap();
    let set = format!("SET LOCAL ROLE \"{role}\"");
    sqlx::raw_sql(AssertSqlSafe(set)).execute(&mut *transaction).await.unwrap();
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *transaction).await;
    transaction.rollback().await.unwrap();
    let error = outcome.err()?;
    Some(error.as_database_error().unwrap().code().unwrap().into_owned())
}

#[tokio::test]
async fn no_login_of_a_tenant_can_lock_a_shared_table_more_than_a_write_does() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant("acme", &[]).await;
    let mut admin = connect(&fixture).await;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'tenantry'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')",
    )
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert!(tables.len() > 60, "{tables:?}");
    for role in [tenant.role.as_str(), "tenantry_tenants", "tenantry_access", "tenantry_migrators"] {
        for table in &tables {
            for mode in
                ["SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"]
            {
                let lock = format!("LOCK TABLE tenantry.\"{table}\" IN {mode} MODE NOWAIT");
                assert_eq!(refused(&mut admin, role, &lock).await.as_deref(), Some(DENIED), "{role}: {lock}");
            }
        }
    }
    // The same by rights that are locks in disguise.
    let rights: Vec<String> = sqlx::query_scalar(
        "SELECT r || ' ' || relname || ' ' || p FROM pg_class, unnest($1::text[]) r, \
            unnest('{UPDATE,DELETE,TRUNCATE,TRIGGER,REFERENCES}'::text[]) p \
         WHERE relnamespace = 'tenantry'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege(r, pg_class.oid, p)",
    )
    .bind([tenant.role.as_str(), "tenantry_access", "tenantry_migrators"].as_slice())
    .fetch_all(&mut admin)
    .await
    .unwrap();
    assert_eq!(rights, Vec::<String>::new());
}

#[tokio::test]
async fn a_duty_has_one_holder_and_is_free_at_once_when_it_is_given_back() {
    let fixture = Fixture::new().await;
    let login = Login::of_url(&fixture.url);
    let (first, second) = (Duty::new(Name::Index, &login), Duty::new(Name::Index, &login));
    let (stop, forever) = (CancellationToken::new(), CancellationToken::new());
    let (held, mut holds) = tokio::sync::mpsc::channel::<(u8, Lease)>(2);
    let work = |who: u8| {
        let held = held.clone();
        async move |lease: Lease| -> Result<Infallible, Lost> {
            held.send((who, lease)).await.unwrap();
            std::future::pending().await
        }
    };
    let begun = tokio::spawn({
        let (stop, work) = (stop.clone(), work(1));
        async move { first.hold(&stop, work).await }
    });
    let (who, before) = holds.recv().await.unwrap();
    assert_eq!(who, 1);
    let waits = tokio::spawn({
        let work = work(2);
        async move { second.hold(&forever, work).await }
    });
    let taken = tokio::time::timeout(Duration::from_secs(6), holds.recv()).await;
    assert!(taken.is_err(), "it was renewed beyond its first end");
    assert!(before.check().is_ok());
    stop.cancel();
    begun.await.unwrap().unwrap();
    let (who, after) = tokio::time::timeout(Duration::from_secs(3), holds.recv()).await.unwrap().unwrap();
    assert_eq!((who, after.epoch()), (2, before.epoch() + 1));

    // Whoever takes it over, ends the one who had it; so does a clock that says that it is over.
    sqlx::query("UPDATE tenantry.duty SET epoch = epoch + 1, holder = 'another' WHERE name = 'index'")
        .execute(&fixture.admin)
        .await
        .unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(3), waits).await.unwrap().unwrap();
    assert!(matches!(ended, Err(Lost::Over)), "{ended:?}");
}

#[tokio::test]
async fn a_claim_of_a_key_waits_for_nobody_and_is_each_tenants_own() {
    let fixture = Fixture::new().await;
    let (acme, globex) = (fixture.tenant("acme", &[]).await, fixture.tenant("globex", &[]).await);
    let mut running = connect(&fixture).await;
    let mut running = running.begin().await.unwrap();
    let as_role = |role: &str| format!("SET LOCAL ROLE \"{role}\"; SELECT tenantry.claim_key('k')");
    sqlx::raw_sql(AssertSqlSafe(as_role(acme.role.as_str()))).execute(&mut *running).await.unwrap();
    let mut other = connect(&fixture).await;
    const CLAIM: &str = "SELECT tenantry.claim_key('k')";
    assert_eq!(refused(&mut other, acme.role.as_str(), CLAIM).await.as_deref(), Some("TN003"));
    assert_eq!(refused(&mut other, globex.role.as_str(), CLAIM).await, None);
    // A write that kept no answer leaves its claim behind, which can be taken again.
    running.commit().await.unwrap();
    assert_eq!(refused(&mut other, acme.role.as_str(), CLAIM).await, None);
    let mut again = other.begin().await.unwrap();
    let keep = "INSERT INTO tenantry.idempotency (id, part, asked, answer) VALUES ('k', 0, '', '[]')";
    let sql = format!("{}; {keep}", as_role(acme.role.as_str()));
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *again).await.unwrap();
    let mut third = connect(&fixture).await;
    assert_eq!(refused(&mut third, acme.role.as_str(), CLAIM).await.as_deref(), Some("TN003"));
    again.commit().await.unwrap();
    assert_eq!(refused(&mut third, acme.role.as_str(), CLAIM).await.as_deref(), Some("TN004"));
}

#[tokio::test]
async fn a_change_is_seen_once_in_whatever_order_transactions_end() {
    let fixture = Fixture::new().await;
    let mut follower = connect(&fixture).await;
    let mut slow = connect(&fixture).await;
    let mut slow = slow.begin().await.unwrap();
    let publish = |app: &str| {
        format!(
            "INSERT INTO tenantry.app_version (app, version, digest, definition) VALUES ('{app}', '1', '', '{{}}')"
        )
    };
    let start = changes::now(&mut follower).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(publish("early"))).execute(&mut *slow).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(publish("late"))).execute(&fixture.admin).await.unwrap();
    let (seen, first) = changes::of_registry(&mut follower, &start).await.unwrap();
    assert_eq!(first, ["app late"]);
    let (seen, none) = changes::of_registry(&mut follower, &seen).await.unwrap();
    assert_eq!(none, Vec::<String>::new());
    slow.commit().await.unwrap();
    let (seen, second) = changes::of_registry(&mut follower, &seen).await.unwrap();
    assert_eq!(second, ["app early"], "it began before and ended after");
    sqlx::raw_sql("DELETE FROM tenantry.app_version").execute(&fixture.admin).await.unwrap();
    let (_, mut gone) = changes::of_registry(&mut follower, &seen).await.unwrap();
    gone.sort();
    assert_eq!(gone, ["app early", "app late"]);
}

#[tokio::test]
async fn a_migration_that_a_session_holds_up_says_so_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let undo = "DELETE FROM tenantry._sqlx_migrations WHERE version = 23; DROP TABLE tenantry.audit_late";
    sqlx::raw_sql(undo).execute(&fixture.admin).await.unwrap();
    let mut holder = connect(&fixture).await;
    let mut holder = holder.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE tenantry.migration_turn IN ACCESS SHARE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *holder).await.unwrap();
    let error = platform::migrate(&fixture.admin).await.unwrap_err();
    assert!(matches!(&error, platform::Error::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("(pid {pid})")), "{error}");
    holder.rollback().await.unwrap();
    platform::migrate(&fixture.admin).await.unwrap();
    let late: i64 = sqlx::query_scalar("SELECT count(*) FROM tenantry.audit_late")
        .fetch_one(&fixture.admin)
        .await
        .unwrap();
    assert_eq!(late, 0);
}
