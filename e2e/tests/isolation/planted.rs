//! Code in every place that Postgres evaluates some from, and everybody who may come upon it: requests, the worker, an upgrade, a repair
//! of drift, ANALYZE, a deletion.

use reqwest::Method;
use serde_json::{Value, json};
use tenantry_crds::v1alpha1::{App, Tenant};
use tenantry_e2e::world::{World, app_spec, unique};
use tenantry_rig::eventually;

use super::{
    bystander::{Bystander, schema},
    reach::{Told, function},
    switch::{Ground, run},
};

/// Places whose code runs when a row is written or read.
const WAYS: [&str; 8] =
    ["trigger", "deferred", "default", "check", "policy", "generated", "expression", "predicate"];

/// The app of `World`, with tickets that are numbered.
fn app(version: &str) -> Value {
    let mut app = app_spec();
    app["version"] = json!(version);
    let tickets = json!({
        "name": "ticket", "naming": {"strategy": "Series", "pattern": "TK-.#####"},
        "fields": [{"name": "title", "type": "String"}],
        "permissions": [{"role": "writer", "allow": ["Read", "Create"]}]
    });
    app["docTypes"].as_array_mut().unwrap().push(tickets);
    app
}

/// The next version: a table that refers to the one with the code, and new columns, indexes and rules for that.
fn next() -> Value {
    let mut app = app("1.1.0");
    let types = app["docTypes"].as_array_mut().unwrap();
    let fields = types[0]["fields"].as_array_mut().unwrap();
    fields.push(json!({"name": "code", "type": "String", "unique": true}));
    fields.push(json!({"name": "rank", "type": "Integer", "default": 1, "required": true, "index": true}));
    fields[1]["values"] = json!(["open", "done", "late"]);
    types.push(json!({
        "name": "remark",
        "fields": [{"name": "card", "type": "Reference", "to": "card", "index": true}],
        "permissions": [{"role": "writer", "allow": ["Read", "Create"]}]
    }));
    app
}

fn plant(schema: &str, table: &str) -> String {
    format!(
        "CREATE FUNCTION on_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {schema}.reach(TG_ARGV[0]); RETURN NEW; END $$;
         CREATE TRIGGER one BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION on_row('trigger');
         CREATE CONSTRAINT TRIGGER two AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION on_row('deferred');
         ALTER TABLE {table} ADD COLUMN planted boolean DEFAULT reach('default');
         ALTER TABLE {table} ADD CONSTRAINT planted CHECK (reach('check'));
         ALTER TABLE {table} ADD COLUMN computed boolean GENERATED ALWAYS AS (reach('generated')) STORED;
         CREATE INDEX planted_expression ON {table} ((reach('expression')));
         CREATE INDEX planted_predicate ON {table} (title) WHERE reach('predicate');
         CREATE STATISTICS planted_statistics ON (reach('statistics')), title FROM {table};
         ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
         ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
         CREATE POLICY planted ON {table} USING (reach('policy')) WITH CHECK (true);
         CREATE FUNCTION as_json({table}) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM {schema}.reach('cast'); RETURN '{{}}'; END $$;
         CREATE CAST ({table} AS json) WITH FUNCTION as_json({table});"
    )
}

#[tokio::test]
async fn planted_code_becomes_nobody_whoever_runs_it() {
    let ground = Ground::of(World::builder().app(app("1.0.0")).build().await).await;
    let Ground { world, cluster, .. } = &ground;
    let bystander = Bystander::beside(world).await;
    let victim = schema(&bystander.tenant);
    let (channel, table) = (unique("reach_"), format!("{}_card", world.app));
    let mut told = Told::listen(world, &channel).await;
    let token = world.user("ann", &["reader", "writer"]).await;
    let cards = world.cards("data");
    for _ in 0..3 {
        world.post(&cards, &token, json!({"title": "a card"})).await;
        world
            .post(&format!("/api/v1/data/{}/tickets", world.app), &token, json!({"title": "a ticket"}))
            .await;
    }
    let mut owner = ground.access("Owner").await;
    run(&mut owner, &function(&ground.schema, &victim, &table, &channel)).await;
    run(&mut owner, &plant(&ground.schema, &table)).await;
    told.sessions().await;

    // Requests: each kind of statement.
    let made = world.post(&cards, &token, json!({"title": "written"})).await;
    let id = made.body["id"].as_str().unwrap_or("none").to_owned();
    world.get(&format!("{cards}?order=title&limit=5&title=eq.written"), &token).await;
    world.get(&format!("{cards}/{id}"), &token).await;
    world.send(Method::PATCH, &format!("{cards}/{id}"), &token, Some(json!({"title": "changed"}))).await;
    world
        .send(Method::PATCH, &format!("{cards}?title=eq.a card"), &token, Some(json!({"price": "1.00"})))
        .await;
    world.send(Method::DELETE, &format!("{cards}/{id}"), &token, None).await;
    let sessions = told.sessions().await;
    let own = ground.own();
    for way in WAYS {
        let of = sessions.of(way);
        // An index expression is evaluated where a row is stored, a predicate where a query is planned, too.
        assert!(of.contains(&own.as_str()), "{way} ran in {of:?}, made {made:?}");
    }
    assert_eq!(sessions.all().into_iter().collect::<Vec<_>>(), [own.as_str()]);

    // The worker fills an index, and autovacuum would gather statistics.
    world.make_searchable().await;
    cluster.run_sql(&format!("ANALYZE {}.{table}", ground.schema)).await;
    eventually("the index is filled", tenantry_e2e::world::LIMIT, || async {
        let sql =
            format!("SELECT count(*)::text FROM tenantry.search_progress WHERE tenant = '{}'", world.tenant);
        let found = cluster.texts(&sql).await;
        if found == ["1"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    let sessions = told.sessions().await;
    let others = |all: std::collections::BTreeSet<&str>| -> Vec<String> {
        all.into_iter().filter(|name| name.starts_with("tenantry_")).map(str::to_owned).collect()
    };
    assert_eq!(others(sessions.all()), [""; 0], "{sessions:?}");

    // An upgrade of the app, and what its owner took away.
    run(&mut owner, &format!("DROP SEQUENCE \"{}_ticket{}\"", world.app, series(&ground).await)).await;
    world.apply::<App>("App", &world.app, next()).await;
    eventually("the tenant has the next version", tenantry_e2e::world::LIMIT, || async {
        let sql = format!(
            "SELECT version FROM tenantry.tenant_app WHERE tenant = '{}' AND app = '{}'",
            world.tenant, world.app
        );
        let found = cluster.texts(&sql).await;
        if found == ["1.1.0"] {
            return Ok(());
        }
        let api: kube::Api<Tenant> = world.api().await;
        let status = api.get(&world.tenant).await.map_err(|e| e.to_string())?.status;
        Err(format!("{found:?} {:?}", status.map(|status| status.conditions)))
    })
    .await
    .unwrap();
    run(
        &mut owner,
        &format!("ALTER TABLE {table} ALTER COLUMN status SET DEFAULT set_config('role', '{victim}', true)"),
    )
    .await;
    cluster.nudge(&world.tenant).await;
    world.until_ready(&world.tenant).await;
    let sessions = told.sessions().await;
    assert_eq!(others(sessions.all()), [""; 0], "{sessions:?}");
    assert!(sessions.all().contains(format!("{}-migrate", ground.schema).as_str()), "{sessions:?}");

    // The end.
    drop(owner);
    world.delete_tenant(&world.tenant).await;
    let sessions = told.sessions().await;
    assert_eq!(others(sessions.all()), [""; 0], "{sessions:?}");
    let touched = format!(
        "SELECT (SELECT count(*) FROM {victim}.{table} WHERE title = 'touched')::text || (SELECT count(*) FROM {victim}.core_api_key)::text"
    );
    assert_eq!(cluster.texts(&touched).await, ["00"]);
    bystander.was_left_alone().await;
}

/// What follows the table's name in that of the tickets' sequence.
async fn series(ground: &Ground) -> String {
    let sql = format!(
        "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = '{}'::regnamespace AND c.relkind = 'S'",
        ground.schema
    );
    let names = ground.cluster.texts(&sql).await;
    let prefix = format!("{}_ticket", ground.world.app);
    names.iter().find_map(|name| name.strip_prefix(&prefix)).unwrap().to_owned()
}

/// I1-C: nothing of the attacker's own is needed.
#[tokio::test]
async fn built_in_functions_in_a_default_get_nothing_and_are_put_back() {
    let ground = Ground::new().await;
    let Ground { world, .. } = &ground;
    let bystander = Bystander::beside(world).await;
    let victim = schema(&bystander.tenant);
    let mut owner = ground.access("Owner").await;
    run(
        &mut owner,
        &format!(
            "ALTER TABLE {app}_card ALTER COLUMN extra SET DEFAULT jsonb_build_object(
                 'as', set_config('role', '{victim}', true),
                 'got', query_to_xml('SELECT title FROM {victim}.{app}_card', true, true, '')::text)",
            app = world.app
        ),
    )
    .await;
    let token = world.user("ann", &["reader", "writer"]).await;
    let made = world.post(&world.cards("data"), &token, json!({"title": "steal"})).await;
    assert!(!made.body.to_string().contains("secret of the victim"), "{made:?}");
    ground.cluster.nudge(&world.tenant).await;
    ground.world.until_ready(&world.tenant).await;
    let default = format!(
        "SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
         WHERE d.adrelid = '{}.{}_card'::regclass AND a.attname = 'extra'",
        ground.schema, world.app
    );
    eventually("it is put back", tenantry_e2e::world::LIMIT, || async {
        let found = ground.cluster.texts(&default).await;
        if found == ["'{}'::jsonb"] { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
    ground.is_served().await;
    bystander.was_left_alone().await;
}
