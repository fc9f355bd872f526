//! What a session keeps: prepared statements, settings, locks, channels. A tenant's code may do to its own what it likes.

use serde_json::json;
use tenantry_e2e::world::unique;

use super::{
    bystander::Bystander,
    switch::{Ground, run},
};

#[tokio::test]
async fn what_is_planted_in_a_session_meets_nobody_else() {
    let ground = Ground::new().await;
    let bystander = Bystander::beside(&ground.world).await;
    let mut owner = ground.access("Owner").await;
    let (schema, mark) = (&ground.schema, unique("poisoned-"));
    run(
        &mut owner,
        &format!(
            "CREATE FUNCTION forged() RETURNS text LANGUAGE sql AS $$ SELECT '{{\"title\":\"forged\"}}'::text $$;
             CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $f$
             DECLARE s record; BEGIN
                 FOR s IN SELECT name, parameter_types FROM pg_prepared_statements WHERE NOT from_sql LOOP
                     BEGIN
                         EXECUTE format('DEALLOCATE %I', s.name);
                         EXECUTE format('PREPARE %I AS SELECT {schema}.forged()', s.name);
                     EXCEPTION WHEN OTHERS THEN NULL; END;
                 END LOOP;
                 BEGIN PERFORM set_config('application_name', '{mark}', false); EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN PERFORM set_config('search_path', '{schema}', false); EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN PERFORM set_config('statement_timeout', '1', false); EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN PERFORM set_config('default_transaction_read_only', 'on', false); EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN PERFORM pg_advisory_lock(n) FROM generate_series(1, 100) n; EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN EXECUTE 'LISTEN tenantry_registry'; EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN EXECUTE 'CREATE TEMP TABLE pg_class (n int)'; EXCEPTION WHEN OTHERS THEN NULL; END;
                 RETURN NEW;
             END $f$;
             CREATE TRIGGER poison BEFORE INSERT ON {app}_card FOR EACH ROW EXECUTE FUNCTION poison();",
            app = ground.world.app
        ),
    )
    .await;
    let token = ground.world.user("ann", &["reader", "writer"]).await;
    for _ in 0..20 {
        // What comes of it is the attacker's affair.
        ground.world.post(&ground.world.cards("data"), &token, json!({"title": "poison"})).await;
        ground.world.get(&ground.world.cards("data"), &token).await;
    }
    let poisoned = format!(
        "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name = '{mark}' AND usename <> '{}'",
        ground.own()
    );
    assert_eq!(ground.cluster.texts(&poisoned).await, [""; 0]);
    bystander.was_left_alone().await;
}
