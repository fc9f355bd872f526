//! Tenants with connections of their own, and those between two logins.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tenantry_crds::names::{OwnerRole, TrafficLogin};
use tenantry_migrations::{registry::Connections, sql::Ident};
use tenantry_rig::wait::eventually;

use super::{COUNT, INSERT, one_connection, read, text, write};
use crate::{
    fixture::Fixture,
    postgres::{DatabaseError, DatabaseMetrics, Tuning},
    registry::TenantEntry,
};

/// The tenant as a replica sees it whose registry says so.
fn as_seen(tenant: &TenantEntry, connections: Connections) -> TenantEntry {
    TenantEntry { connections, ..tenant.clone() }
}

async fn logged_in(fixture: &Fixture, login: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = $1",
    )
    .bind(login)
    .fetch_one(&fixture.admin)
    .await
    .unwrap()
}

const SESSION: &str = "SELECT session_user::text";

#[tokio::test]
async fn a_replica_that_has_not_heard_is_sent_to_the_other_login() {
    let fixture = Fixture::new().await;
    let metrics = DatabaseMetrics::unregistered().unwrap();
    let database = fixture.counted(one_connection(), metrics.clone());
    let tenant = fixture.tenant("a", &[]).await;
    let neighbour = fixture.tenant("b", &[]).await;
    let login = TrafficLogin::of(&tenant.name);
    let shared = as_seen(&tenant, Connections::Shared);
    let dedicated = as_seen(&tenant, Connections::Dedicated);
    let to = |connections: Connections| metrics.redirected.with_label_values(&[connections.as_str()]).get();

    let shard = text(&database, &shared, SESSION).await;
    // There is no login of its own yet.
    assert_eq!(text(&database, &dedicated, SESSION).await, shard);
    assert_eq!((to(Connections::Shared), to(Connections::Dedicated)), (1, 0));
    fixture.dedicate(&tenant).await;
    eventually("its login is tried again", Duration::from_secs(5), || async {
        match database.run(&shared, read(SESSION, &[])).await {
            Ok(reply) if reply.rows[0].text(0) == Some(login.as_str()) => Ok(()),
            Ok(reply) => Err(format!("{:?} serves it", reply.rows[0].text(0))),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
    assert_eq!(text(&database, &shared, SESSION).await, login.as_str(), "though its session was open");
    database.run(&shared, write(INSERT, &["one"])).await.unwrap();
    database.run(&dedicated, write(INSERT, &["two"])).await.unwrap();
    assert_eq!(text(&database, &dedicated, COUNT).await, "2", "each of them once");
    assert_eq!(text(&database, &neighbour, SESSION).await, shard);

    fixture.share(&tenant).await;
    assert_eq!(text(&database, &dedicated, SESSION).await, shard, "an own session that was open");
    database.run(&dedicated, write(INSERT, &["three"])).await.unwrap();
    assert_eq!(text(&database, &shared, COUNT).await, "3");

    // Neither may: the tenant is being deleted, say.
    fixture.admin(&format!("REVOKE {} FROM {}", Ident(tenant.role.as_str()), Ident(&shard))).await;
    for seen in [&shared, &dedicated] {
        let refused = database.run(seen, read(COUNT, &[])).await.unwrap_err();
        assert!(matches!(&refused, DatabaseError::Refused(e) if e.state.as_str() == "42501"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_stream_of_requests_is_no_stream_of_refused_logins() {
    let fixture = Fixture::new().await;
    let metrics = DatabaseMetrics::unregistered().unwrap();
    let database = fixture.counted(one_connection(), metrics.clone());
    let tenant = as_seen(&*fixture.tenant("a", &[]).await, Connections::Dedicated);
    let start = Instant::now();
    for _ in 0..300 {
        text(&database, &tenant, COUNT).await;
    }
    // A refused login takes some milliseconds, and there are few: the pause doubles.
    assert_eq!(metrics.redirected.with_label_values(&["Shared"]).get(), 300);
    assert!(start.elapsed() < Duration::from_secs(20));
    let attempts = metrics.failed.get();
    assert!(attempts < 30, "{attempts} logins were refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_single_tenants_are_bounded_and_make_room_for_each_other() {
    let fixture = Fixture::new().await;
    let metrics = DatabaseMetrics::unregistered().unwrap();
    // Statements may take their time on the lane, so that its tenant is busy.
    let slice = Duration::from_secs(5);
    let tuning = Tuning { dedicated: 2, dedicated_per_tenant: 1, slice, ..one_connection() };
    let database = Arc::new(fixture.counted(tuning, metrics.clone()));
    let mut tenants = Vec::new();
    for name in ["a", "b", "c"] {
        let tenant = fixture.tenant(name, &[]).await;
        fixture.dedicate(&tenant).await;
        tenants.push(Arc::new(as_seen(&tenant, Connections::Dedicated)));
    }
    let login = |n: usize| TrafficLogin::of(&tenants[n].name).as_str().to_owned();
    for n in [0, 1, 0, 2] {
        assert_eq!(text(&database, &tenants[n], SESSION).await, login(n));
    }
    eventually("the connection of b is closed for c", Duration::from_secs(5), || async {
        match logged_in(&fixture, &login(1)).await {
            0 => Ok(()),
            n => Err(format!("{n} are open")),
        }
    })
    .await
    .unwrap();
    assert_eq!((logged_in(&fixture, &login(0)).await, logged_in(&fixture, &login(2)).await), (1, 1));

    // While both are busy, there is no place for a third, and its requests are refused at once.
    let hold = |n: usize| {
        let (database, tenant) = (Arc::clone(&database), Arc::clone(&tenants[n]));
        tokio::spawn(async move { database.run(&tenant, read("SELECT pg_sleep(2)::text", &[])).await })
    };
    let busy = [hold(0), hold(2)];
    eventually("both are busy", Duration::from_secs(5), || async {
        let sleeping: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'",
        )
        .fetch_one(&fixture.admin)
        .await
        .unwrap();
        if sleeping == 2 { Ok(()) } else { Err(format!("{sleeping} are")) }
    })
    .await
    .unwrap();
    let refused = database.run(&tenants[1], read(COUNT, &[])).await.unwrap_err();
    assert!(matches!(refused, DatabaseError::Busy), "{refused:?}");
    assert!(metrics.full.with_label_values(&["dedicated"]).get() > 0);
    for busy in busy {
        busy.await.unwrap().unwrap();
    }
    assert_eq!(text(&database, &tenants[1], SESSION).await, login(1));
}

#[tokio::test]
async fn code_in_a_session_of_ones_own_harms_nobody_else() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let attacker = fixture.tenant("attacker", &[]).await;
    let victim = fixture.tenant("victim", &[]).await;
    fixture.dedicate(&attacker).await;
    let own = as_seen(&attacker, Connections::Dedicated);
    let login = TrafficLogin::of(&attacker.name);
    // What a login can give itself, and what its owner can plant.
    let settings = ["search_path", "role", "DateStyle", "TimeZone", "bytea_output"];
    let values = ["attack", attacker.role.as_str(), "German", "Asia/Tokyo", "escape"];
    for (setting, value) in settings.iter().zip(values) {
        fixture.admin(&format!("ALTER ROLE {} SET {setting} = '{value}'", Ident(login.as_str()))).await;
    }
    for setting in [
        "default_transaction_read_only = on",
        "row_security = off",
        "statement_timeout = 1",
        "lock_timeout = 1",
        "synchronous_commit = off",
        "client_min_messages = debug5",
        "default_transaction_isolation = 'serializable'",
        "standard_conforming_strings = off",
    ] {
        fixture.admin(&format!("ALTER ROLE {} SET {setting}", Ident(login.as_str()))).await;
    }
    let owner = OwnerRole::of(&attacker.name);
    let schema = Ident(attacker.schema.as_str());
    fixture
        .admin(&format!(
            r#"SET ROLE {owner};
            CREATE FUNCTION {schema}.plant() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE s record; BEGIN
                PERFORM set_config('role', 'none', false);
                FOR s IN SELECT name FROM pg_prepared_statements LOOP
                    EXECUTE format('DEALLOCATE %I', s.name);
                    EXECUTE format('PREPARE %I AS SELECT ''forged'' FROM generate_series(1, 3)', s.name);
                END LOOP;
                PERFORM set_config('search_path', 'attack', false), set_config('statement_timeout', '0', false),
                        set_config('application_name', 'poisoned', false);
                PERFORM pg_advisory_lock(42);
                RAISE WARNING '%', repeat('x', 1000000);
                BEGIN
                    PERFORM set_config('role', '{victim}', true);
                    EXECUTE 'UPDATE {victim}.core_setting SET key = ''stolen''';
                EXCEPTION WHEN OTHERS THEN NULL;
                END;
                RETURN NEW;
            END $$;
            CREATE TRIGGER plant BEFORE INSERT ON {schema}.core_setting FOR EACH ROW EXECUTE FUNCTION {schema}.plant();
            RESET ROLE;"#,
            owner = Ident(owner.as_str()),
            victim = victim.role,
        ))
        .await;
    database.run(&victim, write(INSERT, &["mine"])).await.unwrap();
    let settings = "SELECT concat_ws('|', current_setting('search_path'), current_setting('DateStyle'), \
        current_setting('TimeZone'), current_setting('bytea_output'), current_setting('row_security'), \
        current_setting('transaction_isolation'), current_setting('standard_conforming_strings'), \
        current_setting('synchronous_commit'), current_setting('lock_timeout'))";
    let of_victim = text(&database, &victim, settings).await;
    assert_eq!(
        text(&database, &own, settings).await,
        of_victim,
        "what the login has set for itself does not count"
    );
    for n in 0..5 {
        // What the attacker is answered is its own business, but it is answered.
        drop(database.run(&own, write(INSERT, &[&format!("k{n}")])).await);
        drop(database.run(&own, read(COUNT, &[])).await);
        drop(database.run(&own, read("SELECT pg_sleep(1)::text", &[])).await);
        assert_eq!(text(&database, &victim, "SELECT key FROM @.core_setting").await, "mine");
        assert_eq!(text(&database, &victim, settings).await, of_victim);
        let name = text(&database, &victim, "SELECT current_setting('application_name')").await;
        assert_eq!(name, "tenantry-controlplane");
        let locked = text(&database, &victim, "SELECT pg_try_advisory_xact_lock(43)::text").await;
        assert_eq!(locked, "true");
    }
}

#[tokio::test]
async fn the_first_request_on_a_connection_of_ones_own_is_fast() {
    let fixture = Fixture::new().await;
    let database = fixture.database(one_connection());
    let mut times = Vec::new();
    for _ in 0..40 {
        let tenant = fixture.tenant("cold", &[]).await;
        fixture.dedicate(&tenant).await;
        let tenant = as_seen(&tenant, Connections::Dedicated);
        let start = Instant::now();
        text(&database, &tenant, COUNT).await;
        times.push(start.elapsed());
    }
    times.sort();
    eprintln!("first request on a connection of its own: median {:?}, p99 {:?}", times[20], times[39]);
}
