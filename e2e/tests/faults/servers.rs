//! PostgreSQL, Redis and Meilisearch.

use std::time::Duration;

use serde_json::json;
use tenantry_e2e::manifests::uses;
use tenantry_rig::proxy::{Answer, Fault, Mode, Wire};

use super::world::World;

/// Connections that a fault may cost, first attempts of all passes and retries together: far below what a loop makes.
const CONNECTIONS_AT_MOST: usize = 60;

const BROKEN: [(&str, Mode); 3] =
    [("refused", Mode::Refuse), ("hanging", Mode::Hang), ("cut", Mode::Reset { after: 20 })];
pub const SLOW: Mode = Mode::Slow { latency: Duration::from_millis(15), piece: 512 };

#[tokio::test]
async fn postgres() {
    let world = World::new().await;
    each_fault(&world, "pg", "DatabaseReady", |world| &world.proxies.postgres).await;
}

#[tokio::test]
async fn redis() {
    let world = World::new().await;
    each_fault(&world, "redis", "StreamsReady", |world| &world.proxies.redis).await;
}

#[tokio::test]
async fn search() {
    let world = World::new().await;
    each_fault(&world, "search", "SearchReady", |world| &world.proxies.search).await;
    for (name, code, retry_after) in [("busy", 429, Some(1)), ("failing", 500, None)] {
        let (tenant, requests) = (format!("search-{name}"), &world.proxies.search_requests);
        let answer = Answer::Status { code, retry_after };
        requests.set(Some(Fault { answer, path: "/indexes".to_owned(), writes_only: false }));
        let before = requests.requests().len();
        world.cluster.tenant(&tenant, uses("shop", "Delete")).await;
        world.until_told(&tenant, "SearchReady").await;
        let asked = requests.requests().len() - before;
        assert!(asked < CONNECTIONS_AT_MOST, "{asked} requests while it answers {code}");
        world.proxies.heal();
        world.until_healed(&tenant).await;
    }
}

/// A tenant is made, and another one changed, during each of the faults.
async fn each_fault(world: &World, prefix: &str, condition: &str, wire: fn(&World) -> &Wire) {
    let (cluster, wire) = (&world.cluster, wire(world));
    let standing = format!("{prefix}-standing");
    cluster.tenant(&standing, uses("shop", "Delete")).await;
    world.until_healed(&standing).await;
    for (fault, mode) in BROKEN {
        let (name, bystander) = (format!("{prefix}-{fault}"), format!("{prefix}-{fault}-bystander"));
        let before = wire.accepted();
        wire.set(mode);
        cluster.tenant(&name, uses("shop", "Delete")).await;
        let mut changed = uses("shop", "Delete");
        changed["hosts"] = json!([format!("{fault}.{prefix}.example.com")]);
        cluster.tenant(&standing, changed).await;
        world.until_told(&name, condition).await;
        world.until_told(&standing, condition).await;
        if condition != "DatabaseReady" {
            // It needs neither queues nor search.
            cluster.tenant(&bystander, json!({"deletionPolicy": "Delete"})).await;
            world.until_healed(&bystander).await;
        }
        let made = wire.accepted() - before;
        assert!(made < CONNECTIONS_AT_MOST, "{made} connections while it is {fault}");
        world.proxies.heal();
        world.until_healed(&name).await;
        world.until_healed(&standing).await;
    }
    wire.set(SLOW);
    let name = format!("{prefix}-slow");
    cluster.tenant(&name, uses("shop", "Delete")).await;
    world.until_healed(&name).await;
    world.proxies.heal();
}
