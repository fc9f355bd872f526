use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tenantry_e2e::rig::endpoints::http_client;
use tenantry_e2e::rig::program::{Program, ProgramOptions};

use super::world::{World, answer};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn create(url: &str, world: &World, token: &str, id: &str) {
    let request = http_client()
        .unwrap()
        .post(format!("{url}{}", world.cards("data")))
        .bearer_auth(token)
        .header("traceparent", format!("00-{TRACE}-b7ad6b7169203331-01"))
        .header("x-request-id", id)
        .json(&json!({"title": id}));
    let made = answer(request).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.headers["x-request-id"], id);
}

/// What the event of the request with this id says of its trace; the worker leaves events of types without an index for a moment.
async fn of_event(world: &World) -> Vec<String> {
    let mut admin = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    sqlx::query_scalar(
        "SELECT traceparent FROM seen_events WHERE role = $1::name AND traceparent IS NOT NULL",
    )
    .bind(format!("tenant_{}", world.tenant.replace('-', "_")))
    .fetch_all(&mut admin)
    .await
    .unwrap()
}

/// The worker takes events out of the outbox at once, so a trigger keeps what they said.
async fn keep_events(world: &World) {
    let mut admin = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS seen_events (role name, traceparent text);
         CREATE OR REPLACE FUNCTION keep_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
           $$ BEGIN INSERT INTO public.seen_events VALUES (NEW.role, NEW.traceparent); RETURN NEW; END $$;
         DROP TRIGGER IF EXISTS keep_event ON tenantry.outbox;
         CREATE TRIGGER keep_event AFTER INSERT ON tenantry.outbox FOR EACH ROW EXECUTE FUNCTION keep_event()",
    )
    .execute(&mut admin)
    .await
    .unwrap();
}

async fn forget_events(world: &World) {
    let mut admin = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    sqlx::raw_sql(
        "DROP TRIGGER keep_event ON tenantry.outbox; DROP FUNCTION keep_event(); DROP TABLE seen_events",
    )
    .execute(&mut admin)
    .await
    .unwrap();
}

#[tokio::test]
async fn a_trace_goes_on_from_the_caller_to_the_outbox_and_the_log_says_who_asked() {
    let world = World::new().await;
    keep_events(&world).await;
    let user = world.user("ann", &["reader", "writer"]).await;
    create(world.platform.url().unwrap(), &world, &user, "plain-1").await;
    assert_eq!(of_event(&world).await, [format!("00-{TRACE}-b7ad6b7169203331-01")]);

    forget_events(&world).await;

    let options = ProgramOptions {
        settings: vec![("TENANTRY__LOG__FORMAT".to_owned(), "json".to_owned())],
        ..ProgramOptions::default()
    };
    let serve = Program::serve(world.platform.endpoints(), &options).await.unwrap();
    create(serve.http_url().unwrap(), &world, &user, "traced-1").await;

    // The log has a line for the request, with who it was and how much it took.
    let log = std::fs::read_to_string(serve.process().log()).unwrap();
    let line = log.lines().find(|line| line.contains("traced-1") && line.contains("\"access\"")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(
        (&line["status"], &line["rows"], &line["user"]),
        (&json!(201), &json!(1), &json!("ann")),
        "{line}"
    );
    assert_eq!((&line["tenant"], &line["span"]["id"]), (&json!(world.tenant), &json!("traced-1")), "{line}");
    assert_eq!(line["span"]["route"], "/api/v1/data/{app}/{plural}");
    assert!(line["duration_us"].as_u64() > Some(0) && !log.contains(&user), "{line}");
}
