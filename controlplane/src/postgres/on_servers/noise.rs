//! One tenant does its worst, and its neighbours on the same lane do not notice.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use sqlx::{AssertSqlSafe, Executor};
use tenantry_rig::wait::eventually;

use super::{INSERT, bound, one_connection, read, text, write};
use crate::{
    fixture::Fixture,
    postgres::{DatabaseError, DatabaseMetrics, Group, TenantDatabase, Tuning},
    registry::TenantEntry,
};

const SLEEP: &str = "SELECT pg_sleep(5)::text";
/// What a tenant may hold a lane for: five slices and one group. The rest is a slow machine.
const BOUND: Duration = Duration::from_millis(1500);

/// Sessions whose statement has slept for longer than a slice, which only a connection for slow statements allows.
async fn sleeping(fixture: &Fixture) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'tenantry-controlplane' AND wait_event = 'PgSleep' \
         AND clock_timestamp() - query_start > interval '200 milliseconds'",
    )
    .fetch_one(&fixture.admin)
    .await
    .unwrap()
}

async fn eventually_sleeping(fixture: &Fixture, sessions: i64) {
    eventually("so many sessions sleep", Duration::from_secs(10), || async {
        let now = sleeping(fixture).await;
        if now == sessions { Ok(()) } else { Err(format!("{now} sleep")) }
    })
    .await
    .unwrap();
}

/// The longest of some reads of `tenant`, one after the other.
async fn longest_read(database: &TenantDatabase, tenant: &TenantEntry) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let start = Instant::now();
        text(database, tenant, "SELECT current_user::text").await;
        longest = longest.max(start.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_second_statements_do_not_delay_a_neighbour_on_the_lane() {
    let fixture = Fixture::new().await;
    let tuning = Tuning { statement_timeout: Duration::from_secs(2), ..one_connection() };
    let database = Arc::new(fixture.database(tuning));
    let (noisy, quiet) = (fixture.tenant("noisy", &[]).await, fixture.tenant("quiet", &[]).await);
    text(&database, &quiet, "SELECT 1::text").await;
    let noise = {
        let (database, noisy) = (Arc::clone(&database), Arc::clone(&noisy));
        tokio::spawn(async move {
            let sleeps = (0..30).map(|n| {
                let group = if n % 2 == 0 { read(SLEEP, &[]) } else { write(SLEEP, &[]) };
                database.run(&noisy, group)
            });
            join_all(sleeps).await
        })
    };
    let mut longest = Duration::ZERO;
    let mut rounds = 0;
    while !noise.is_finished() {
        longest = longest.max(longest_read(&database, &quiet).await);
        assert!(sleeping(&fixture).await <= 2, "only in the tenant's places for slow statements");
        rounds += 1;
    }
    assert!(rounds > 3, "the noise was there all the time");
    assert!(longest < BOUND, "a neighbour waited for {longest:?}");
    for result in noise.await.unwrap() {
        match result {
            Err(DatabaseError::Refused(error)) => assert_eq!(error.state.as_str(), "57014"),
            Err(DatabaseError::Busy) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_does_not_hold_the_lane_for_as_many_slices_as_it_has_statements() {
    let fixture = Fixture::new().await;
    let database = Arc::new(fixture.database(one_connection()));
    let (noisy, quiet) = (fixture.tenant("noisy", &[]).await, fixture.tenant("quiet", &[]).await);
    text(&database, &quiet, "SELECT 1::text").await;
    // Each statement is within a slice, and all of them together take a little longer than others wait for a place.
    let batch = || Group::write((0..100).map(|_| bound("SELECT pg_sleep(0.042)::text", &[])).collect());
    let noise = {
        let (database, noisy) = (Arc::clone(&database), Arc::clone(&noisy));
        tokio::spawn(async move { join_all((0..4).map(|_| database.run(&noisy, batch()))).await })
    };
    let mut longest = Duration::ZERO;
    while !noise.is_finished() {
        longest = longest.max(longest_read(&database, &quiet).await);
    }
    assert!(longest < BOUND, "a neighbour waited for {longest:?}");
    let carried_out = noise.await.unwrap().into_iter().filter(Result::is_ok).count();
    assert_eq!(carried_out, 2, "in the tenant's places for slow statements");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_held_elsewhere_does_not_delay_a_neighbour() {
    let fixture = Fixture::new().await;
    let database = Arc::new(fixture.database(one_connection()));
    let (locked, quiet) = (fixture.tenant("locked", &[]).await, fixture.tenant("quiet", &[]).await);
    text(&database, &quiet, "SELECT 1::text").await;
    let mut holder = fixture.admin.begin().await.unwrap();
    let lock = format!("LOCK TABLE {}.core_setting IN ACCESS EXCLUSIVE MODE", locked.schema);
    holder.execute(sqlx::raw_sql(AssertSqlSafe(lock))).await.unwrap();
    let waiting = {
        let (database, locked) = (Arc::clone(&database), Arc::clone(&locked));
        tokio::spawn(async move {
            let reads = (0..2).map(|_| database.run(&locked, read(super::COUNT, &[])));
            join_all(reads).await
        })
    };
    let mut longest = Duration::ZERO;
    while !waiting.is_finished() {
        longest = longest.max(longest_read(&database, &quiet).await);
    }
    assert!(longest < BOUND, "a neighbour waited for {longest:?}");
    for result in waiting.await.unwrap() {
        let refused = result.unwrap_err();
        assert!(matches!(&refused, DatabaseError::Refused(e) if e.state.as_str() == "55P03"), "{refused:?}");
    }
    holder.rollback().await.unwrap();
    assert_eq!(text(&database, &locked, super::COUNT).await, "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_statement_ends_when_its_caller_has_gone() {
    let fixture = Fixture::new().await;
    let database = Arc::new(fixture.database(one_connection()));
    let tenant = fixture.tenant("a", &[]).await;
    let slow_insert = "INSERT INTO @.core_setting (id, key, created_by, updated_by) \
                       SELECT 'x', 'x', 'me', 'me' FROM pg_sleep(5)";
    for group in [read(SLEEP, &[]), write(slow_insert, &[])] {
        let request = {
            let (database, tenant) = (Arc::clone(&database), Arc::clone(&tenant));
            tokio::spawn(async move { database.run(&tenant, group).await.map(drop) })
        };
        eventually_sleeping(&fixture, 1).await;
        let start = Instant::now();
        request.abort();
        eventually_sleeping(&fixture, 0).await;
        assert!(start.elapsed() < Duration::from_secs(3), "it was cancelled, and did not time out");
    }
    assert_eq!(text(&database, &tenant, super::COUNT).await, "0");
    // The places are free again.
    let again = (0..2).map(|_| database.run(&tenant, read("SELECT pg_sleep(0.3)::text", &[])));
    assert!(join_all(again).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_outlasts_a_slice_is_carried_out_once() {
    let fixture = Fixture::new().await;
    let metrics = DatabaseMetrics::unregistered().unwrap();
    let database = fixture.counted(one_connection(), metrics.clone());
    let tenant = fixture.tenant("a", &[]).await;
    let slow_insert = "INSERT INTO @.core_setting (id, key, created_by, updated_by) \
                       SELECT $1::text, $1::text, 'me', 'me' FROM pg_sleep(0.2)";
    for key in ["a", "b", "c"] {
        database.run(&tenant, write(slow_insert, &[key])).await.unwrap();
    }
    assert_eq!(text(&database, &tenant, super::COUNT).await, "3");
    assert_eq!(metrics.outlasted.get(), 3);
    // One connection served all of them: it is kept for a while.
    let open: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'tenantry-controlplane'",
    )
    .fetch_one(&fixture.admin)
    .await
    .unwrap();
    assert_eq!(open, 2, "the lane and one more");
}

#[tokio::test]
async fn a_tenants_own_limit_holds_in_slow_connections_too() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let tenant = fixture.tenant("a", &[]).await;
    for (limit, timeout) in [(100, 0.05), (400, 0.3)] {
        let mut limited = TenantEntry::clone(&tenant);
        limited.quotas.statement_timeout_milliseconds = Some(limit);
        let within = format!("SELECT pg_sleep({timeout})::text");
        database.run(&limited, read(&within, &[])).await.unwrap();
        let refused = database.run(&limited, read(SLEEP, &[])).await.unwrap_err();
        assert!(matches!(&refused, DatabaseError::Refused(e) if e.state.as_str() == "57014"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_slow_places_are_refused_in_time() {
    let fixture = Fixture::new().await;
    let metrics = DatabaseMetrics::unregistered().unwrap();
    let tuning = Tuning { slow: 2, slow_per_tenant: 1, ..one_connection() };
    let database = fixture.counted(tuning, metrics.clone());
    let tenants =
        [fixture.tenant("a", &[]).await, fixture.tenant("b", &[]).await, fixture.tenant("c", &[]).await];
    let results = join_all(tenants.iter().map(|tenant| database.run(tenant, read(SLEEP, &[])))).await;
    let busy = results.iter().filter(|result| matches!(result, Err(DatabaseError::Busy))).count();
    assert_eq!((busy, metrics.full.with_label_values(&["slow"]).get()), (1, 1));
}

#[tokio::test]
async fn a_lane_whose_task_ended_is_opened_anew() {
    let fixture = Fixture::new().await;
    let metrics = DatabaseMetrics::unregistered().unwrap();
    let database = fixture.counted(one_connection(), metrics.clone());
    let tenant = fixture.tenant("a", &[]).await;
    database.run(&tenant, write(INSERT, &["x"])).await.unwrap();
    database.end_lanes();
    assert_eq!(text(&database, &tenant, super::COUNT).await, "1");
    assert_eq!(metrics.reopened.get(), 1);
    assert_eq!(text(&database, &tenant, super::COUNT).await, "1");
    assert_eq!(metrics.reopened.get(), 1);
}

#[tokio::test]
async fn as_many_slow_connections_are_kept_as_there_are_places() {
    // So long that all of them are in their places together.
    const SLOW: &str = "SELECT pg_backend_pid()::text FROM pg_sleep(1)";
    let fixture = Fixture::new().await;
    let database = fixture.database(Tuning { slow: 6, slow_per_tenant: 3, ..one_connection() });
    let tenants = [fixture.tenant("a", &[]).await, fixture.tenant("b", &[]).await];
    let processes = async || {
        let slow = (0..6).map(|n| text(&database, &tenants[n % 2], SLOW));
        BTreeSet::from_iter(join_all(slow).await)
    };
    let first = processes().await;
    assert_eq!(first.len(), 6, "one for each place");
    assert_eq!(processes().await, first, "none is opened for what another one could do");
}
