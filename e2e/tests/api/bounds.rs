//! What one tenant cannot take from the others: memory, connections, time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tenantry_e2e::program::{Program, ProgramOptions};
use tenantry_e2e::world::{Answer, LIMIT, World, answer, app_spec, unique};
use tenantry_rig::endpoints::http_client;
use tenantry_rig::eventually;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

const MEMORY: u64 = 192 * 1024 * 1024;

/// A replica of the control plane with settings of its own.
async fn replica(world: &World, settings: &[(&str, &str)]) -> Program {
    let settings =
        settings.iter().map(|(name, value)| (format!("TENANTRY__{name}"), (*value).to_owned())).collect();
    let options = ProgramOptions { settings, ..ProgramOptions::default() };
    Program::serve(world.platform.endpoints(), &options).await.unwrap()
}

async fn get(program: &Program, path: &str, token: &str) -> Answer {
    let url = format!("{}{path}", program.http_url().unwrap());
    answer(http_client().unwrap().get(url).bearer_auth(token)).await
}

/// The value of a metric without labels.
async fn metric(program: &Program, name: &str) -> u64 {
    let response = http_client().unwrap().get(format!("{}/metrics", program.metrics_url())).send().await;
    let text = response.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().unwrap() as u64
}

/// A client that asks and never reads.
async fn silent(program: &Program, path: &str, token: &str) -> TcpStream {
    let address = program.http_url().unwrap().trim_start_matches("http://").parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn answers_that_nobody_reads_take_a_bounded_share_and_not_for_long() {
    let mut app = app_spec();
    let fields = app["docTypes"][0]["fields"].as_array_mut().unwrap();
    fields.push(json!({"name": "body", "type": "Text"}));
    let world = World::builder().app(app).build().await;
    let other = unique("t-");
    world.install(&other).await;
    let ours = world.user("ann", &["admin"]).await;
    let theirs = world.token_of(&other, "bob", &["admin"]).await;
    for _ in 0..20 {
        // Each quotation mark becomes two bytes in an answer.
        let card = json!({"title": "large", "body": "\"".repeat(400_000)});
        assert_eq!(world.post(&world.cards("data"), &ours, card).await.status, 201);
    }
    let small = world.post(&world.cards("data"), &theirs, json!({"title": "small"})).await;
    assert_eq!(small.status, 201);

    let program = replica(&world, &[("HTTP__WRITE_TIMEOUT_SECONDS", "2")]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(silent(&program, &world.cards("data"), &ours).await);
    }
    let held = || metric(&program, "tenantry_http_memory_held_bytes");
    eventually("answers are held", LIMIT, || async {
        let held = held().await;
        if held > 10_000_000 { Ok(()) } else { Err(held) }
    })
    .await
    .unwrap();
    let served_meanwhile = std::sync::atomic::AtomicUsize::new(0);
    eventually("nobody holds them any more", LIMIT, || async {
        let (held, closed) = (held().await, metric(&program, "tenantry_http_slow_readers").await);
        assert!(held < MEMORY / 2, "{held}");
        let served = get(&program, &world.cards("data"), &theirs).await;
        if served.status == 503 && served.headers.contains_key("retry-after") {
            return Err("two processors are busy with twenty large answers: it is to come again".to_owned());
        }
        assert_eq!((served.status, &served.body["items"][0]["title"]), (200, &Value::from("small")));
        if held > 1_000_000 {
            served_meanwhile.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        if closed >= 1 && held < 1_000_000 { Ok(()) } else { Err(format!("{held} {closed}")) }
    })
    .await
    .unwrap();
    assert_ne!(served_meanwhile.into_inner(), 0, "another tenant is served while they are held");
    let read = get(&program, &format!("{}?limit=5", world.cards("data")), &ours).await;
    assert_eq!(read.body["items"].as_array().unwrap().len(), 5, "whoever reads is served");
    drop(clients);
}

#[tokio::test]
async fn finding_out_who_calls_takes_no_longer_than_a_request_may() {
    let world = World::new().await;
    let admin = world.user("ann", &["admin"]).await;
    let new = json!({"name": "robot", "roles": [format!("{}:reader", world.app)]});
    let made = world.post("/api/v1/auth/keys", &admin, new).await;
    let key = made.body["key"].as_str().unwrap();
    let program = replica(&world, &[("HTTP__TIMEOUT_SECONDS", "1")]).await;
    let mut holder = PgConnection::connect(&world.platform.endpoints().database_url).await.unwrap();
    let mut holder = holder.begin().await.unwrap();
    let table = format!("tenant_{}.core_api_key", world.tenant.replace('-', "_"));
    sqlx::raw_sql(AssertSqlSafe(format!("LOCK {table}"))).execute(&mut *holder).await.unwrap();
    let start = Instant::now();
    get(&program, &world.cards("data"), key).await.refused(504, "timeout");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    holder.rollback().await.unwrap();
    assert_eq!(get(&program, &world.cards("data"), key).await.status, 200);
}
