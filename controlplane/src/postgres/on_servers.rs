//! Against a real server.

mod contamination;
mod dedicated;
mod noise;

use std::sync::Arc;

use futures::future::join_all;

use super::{Bound, DatabaseError, Group, Params, Template, TemplateBuilder, TenantDatabase, Tuning};
use crate::{
    error::{ApiError, Code},
    fixture::Fixture,
    registry::TenantEntry,
};

fn template(text: &str) -> Template {
    let mut sql = TemplateBuilder::default();
    for (n, part) in text.split('@').enumerate() {
        if n > 0 {
            sql.schema();
        }
        sql.push(part);
    }
    sql.build()
}

pub(super) fn bound(text: &str, params: &[&str]) -> Bound {
    let mut list = Params::default();
    for param in params {
        list.push(Some(param));
    }
    Bound { template: template(text), params: list, by_value: false }
}

pub(super) fn read(text: &str, params: &[&str]) -> Group {
    Group::read(bound(text, params))
}

pub(super) fn write(text: &str, params: &[&str]) -> Group {
    Group::write(vec![bound(text, params)])
}

const INSERT: &str =
    "INSERT INTO @.core_setting (id, key, created_by, updated_by) VALUES ($1::text, $1::text, 'me', 'me')";
const COUNT: &str = "SELECT count(*)::text FROM @.core_setting";

async fn text(database: &TenantDatabase, tenant: &TenantEntry, sql: &str) -> String {
    let reply = database.run(tenant, read(sql, &[])).await.unwrap();
    reply.rows[0].text(0).unwrap().to_owned()
}

fn one_connection() -> Tuning {
    Tuning { connections_per_shard: 1, ..Tuning::default() }
}

#[tokio::test]
async fn a_group_runs_as_the_tenant_and_leaves_no_role_behind() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let a = fixture.tenant("a", &[]).await;
    let b = fixture.tenant("b", &[]).await;
    for tenant in [&a, &b, &a] {
        assert_eq!(text(&database, tenant, "SELECT current_user::text").await, tenant.role.as_str());
    }
    let foreign = format!("SELECT count(*)::text FROM {}.core_user", b.schema);
    let refused = database.run(&a, read(&foreign, &[])).await.unwrap_err();
    assert!(matches!(&refused, DatabaseError::Refused(e) if e.state.as_str() == "42501"), "{refused:?}");
    let refused = database.run(&a, read("CREATE TABLE @.t (a int)", &[])).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::Refused(_)));
    assert_eq!(text(&database, &a, "SELECT current_user::text").await, a.role.as_str());
}

#[tokio::test]
async fn that_a_role_is_gone_is_no_fault_of_the_caller() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let (tenant, other) = (fixture.tenant("a", &[]).await, fixture.tenant("b", &[]).await);
    text(&database, &tenant, "SELECT current_user::text").await;
    fixture
        .admin(&format!(
            "DROP SCHEMA {} CASCADE; DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"",
            tenant.schema,
            role = tenant.role
        ))
        .await;
    for group in [read(COUNT, &[]), write(INSERT, &["x"])] {
        let gone = database.run(&tenant, group).await.unwrap_err();
        assert!(matches!(gone, DatabaseError::NoRole(_)), "{gone:?}");
        assert_eq!(ApiError::from(gone).code(), Code::Unavailable);
    }
    // What a caller sends wrongly stays the caller's.
    let wrong = database.run(&other, read("SELECT $1::integer::text", &["x"])).await.unwrap_err();
    assert_eq!(ApiError::from(wrong).code(), Code::BadRequest);
}

#[tokio::test]
async fn reads_cannot_write_and_only_writes_by_a_key_are_planned_once() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let tenant = fixture.tenant("a", &[]).await;
    let refused = database.run(&tenant, read(INSERT, &["x"])).await.unwrap_err();
    assert!(matches!(&refused, DatabaseError::Refused(e) if e.state.as_str() == "25006"), "{refused:?}");
    let set =
        "SELECT concat_ws(' ', current_setting('transaction_read_only'), current_setting('plan_cache_mode'))";
    let by_value = Group::write(vec![Bound { by_value: true, ..bound(set, &[]) }]);
    for (group, expected) in [
        (read(set, &[]), "on auto"),
        (write(set, &[]), "off force_generic_plan"),
        (by_value, "off auto"),
        // Nothing of the others is left.
        (read(set, &[]), "on auto"),
    ] {
        let reply = database.run(&tenant, group).await.unwrap();
        assert_eq!(reply.rows[0].text(0), Some(expected));
    }
}

#[tokio::test]
async fn a_failed_group_takes_none_of_its_neighbours_with_it() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let tenants =
        [fixture.tenant("a", &[]).await, fixture.tenant("b", &[]).await, fixture.tenant("c", &[]).await];
    // Every third write violates the primary key, and every fifth read cannot be parsed.
    for tenant in &tenants {
        database.run(tenant, write(INSERT, &["taken"])).await.unwrap();
    }
    let results = join_all((0..300).map(|n: usize| {
        let (database, tenant) = (&database, &tenants[n % 3]);
        async move {
            let key = if n.is_multiple_of(7) { "taken".to_owned() } else { format!("k{n}") };
            let wrote = database.run(tenant, write(INSERT, &[&key])).await;
            let sql = if n.is_multiple_of(5) {
                "SELECT nothing FROM @.core_setting"
            } else {
                "SELECT current_user::text"
            };
            let read = database.run(tenant, read(sql, &[])).await;
            (n, wrote, read)
        }
    }))
    .await;
    for (n, wrote, read) in results {
        match wrote {
            Err(DatabaseError::Refused(error)) if n % 7 == 0 => assert_eq!(error.state.as_str(), "23505"),
            Ok(_) if n % 7 != 0 => {}
            other => panic!("write {n}: {other:?}"),
        }
        match read {
            Err(DatabaseError::Refused(error)) if n % 5 == 0 => assert_eq!(error.state.as_str(), "42703"),
            Ok(reply) if n % 5 != 0 => {
                assert_eq!(reply.rows[0].text(0).unwrap(), tenants[n % 3].role.as_str())
            }
            other => panic!("read {n}: {other:?}"),
        }
    }
    for (n, tenant) in tenants.iter().enumerate() {
        let expected = (0..300).filter(|k| k % 3 == n && k % 7 != 0).count() + 1;
        assert_eq!(text(&database, tenant, COUNT).await, expected.to_string());
    }
}

#[tokio::test]
async fn dropped_requests_leave_whole_groups_or_none() {
    let fixture = Fixture::new().await;
    let database = Arc::new(fixture.database(one_connection()));
    let (a, b) = (fixture.tenant("a", &[]).await, fixture.tenant("b", &[]).await);
    let two = "INSERT INTO @.core_setting (id, key, created_by, updated_by) VALUES ($1::text || '-2', $1::text || '-2', 'me', 'me')";
    for n in 0..200 {
        let key = format!("k{n}");
        let group = Group::write(vec![bound(INSERT, &[&key]), bound(two, &[&key])]);
        let request = {
            let (database, a) = (Arc::clone(&database), Arc::clone(&a));
            tokio::spawn(async move { database.run(&a, group).await.map(drop) })
        };
        for _ in 0..n % 17 {
            tokio::task::yield_now().await;
        }
        request.abort();
        assert_eq!(text(&database, &b, "SELECT current_user::text").await, b.role.as_str());
    }
    // Behind all of them on the same connection.
    let pairs = "SELECT count(*)::text FROM @.core_setting s WHERE right(id, 2) <> '-2' AND NOT EXISTS \
                 (SELECT FROM @.core_setting t WHERE t.id = s.id || '-2')";
    database.run(&a, write(INSERT, &["last"])).await.unwrap();
    assert_eq!(text(&database, &a, pairs).await, "1", "only `last` may be without its twin");
}

#[tokio::test]
async fn statements_that_were_evicted_are_parsed_again() {
    let fixture = Fixture::new().await;
    let tuning = Tuning { statements_per_connection: 4, ..one_connection() };
    let database = fixture.database(tuning);
    let a = fixture.tenant("a", &[]).await;
    let results = join_all((0..100).map(|n: usize| {
        let (database, a) = (&database, &a);
        async move { text(database, a, &format!("SELECT '{}'::text", n % 10)).await }
    }))
    .await;
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result, (n % 10).to_string());
    }
}

#[tokio::test]
async fn a_statement_that_the_server_lost_is_parsed_again() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let a = fixture.tenant("a", &[]).await;
    assert_eq!(text(&database, &a, COUNT).await, "0");
    // What a pooler in between, or an administrator, could do.
    let lost = database.run(&a, write("DEALLOCATE s1", &[])).await;
    assert!(lost.is_ok(), "{lost:?}");
    assert_eq!(text(&database, &a, COUNT).await, "0");
}

#[tokio::test]
async fn a_lost_connection_is_replaced() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let a = fixture.tenant("a", &[]).await;
    for n in 0..5 {
        database.run(&a, write(INSERT, &[&format!("k{n}")])).await.unwrap();
        let ended: i64 = sqlx::query_scalar(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'tenantry-controlplane'",
        )
        .fetch_one(&fixture.admin)
        .await
        .unwrap();
        assert_eq!(ended, 1);
        // A read is repeated on the next connection, so the loss does not show.
        assert_eq!(text(&database, &a, COUNT).await, (n + 1).to_string());
    }
}

#[tokio::test]
async fn a_write_that_was_cut_off_is_never_said_to_have_failed_cleanly() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let a = fixture.tenant("a", &[]).await;
    let slow = "INSERT INTO @.core_setting (id, key, created_by, updated_by) \
                SELECT $1::text, $1::text, 'me', 'me' FROM pg_sleep(3)";
    let cut = database.run(&a, write(slow, &["slow"]));
    let kill = async {
        tenantry_rig::wait::eventually("the write runs", std::time::Duration::from_secs(5), || async {
            let ended: i64 = sqlx::query_scalar(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
                 AND application_name = 'tenantry-controlplane' AND wait_event = 'PgSleep'",
            )
            .fetch_one(&fixture.admin)
            .await
            .unwrap();
            if ended == 1 { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await
        .unwrap();
    };
    let (result, ()) = tokio::join!(cut, kill);
    // The server said why it left, and that was before COMMIT: the write is repeated and succeeds.
    result.unwrap();
    assert_eq!(text(&database, &a, COUNT).await, "1");
}

#[tokio::test]
async fn one_tenant_cannot_hold_more_than_its_share() {
    let fixture = Fixture::new().await;
    let tuning = Tuning { concurrency_per_tenant: 2, waiting_per_tenant: 3, ..one_connection() };
    let database = fixture.database(tuning);
    let a = fixture.tenant("a", &[]).await;
    let results = join_all((0..10).map(|_| database.run(&a, read("SELECT pg_sleep(0.01)::text", &[])))).await;
    let busy = results.iter().filter(|result| matches!(result, Err(DatabaseError::Busy))).count();
    assert_eq!(busy, 5);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_at_once() {
    let fixture = Fixture::new().await;
    let a = fixture.tenant("a", &[]).await;
    let key =
        tenantry_migrations::logins::LoginKey::new("another key, so the password is wrong".into()).unwrap();
    let metrics = super::DatabaseMetrics::unregistered().unwrap();
    let address = super::Address::parse(&fixture.url).unwrap();
    let wrong = TenantDatabase::new(address, key, one_connection(), metrics);
    for _ in 0..3 {
        let refused = wrong.run(&a, read(COUNT, &[])).await.unwrap_err();
        assert!(matches!(refused, DatabaseError::Unavailable), "{refused:?}");
    }
}
