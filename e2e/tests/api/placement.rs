//! Several instances of each backend: where tenants are placed, that one control plane serves them all, and that an instance
//! that is away takes nothing from the others. Each test has a platform of its own with a second instance of everything.

use std::collections::BTreeSet;

use kube::api::{Patch, PatchParams};
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tenantry_crds::names::InstanceName;
use tenantry_crds::v1alpha1::{App, Tenant};
use tenantry_e2e::program::ProgramOptions;
use tenantry_e2e::world::{Answer, LIMIT, World, app_spec, unique};
use tenantry_e2e::{Credentials, Platform};
use tenantry_migrations::logins::{LoginKey, LoginName};
use tenantry_rig::endpoints::{SecondInstance, http_client};
use tenantry_rig::{SECOND, Stack, StackOptions, eventually};

/// What one instance of each backend has of the tenants.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    postgres: BTreeSet<String>,
    keys: BTreeSet<String>,
    indexes: BTreeSet<String>,
}

impl Holdings {
    async fn of(instance: &SecondInstance) -> Self {
        let mut database = PgConnection::connect(&instance.database_url).await.unwrap();
        let found: Vec<String> = sqlx::query_scalar(
            r"SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE 'tenant\_%'
              UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE 'tenant\_%'
              UNION ALL SELECT 'row ' || name FROM tenantry.tenant",
        )
        .fetch_all(&mut database)
        .await
        .unwrap();
        let client = redis::Client::open(instance.redis_url.as_str()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
        let url = format!("{}/indexes?limit=1000", instance.meili_url);
        let request = http_client().unwrap().get(url).bearer_auth(&instance.meili_master_key);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let indexes = answer["results"].as_array().unwrap().iter();
        Self {
            postgres: found.into_iter().collect(),
            keys: keys.into_iter().collect(),
            indexes: indexes.map(|index| index["uid"].as_str().unwrap().to_owned()).collect(),
        }
    }

    /// Whether each backend has something of the tenant.
    fn has(&self, tenant: &str) -> [bool; 3] {
        let any = |set: &BTreeSet<String>, text: &str| set.iter().any(|one| one.contains(text));
        let schema = format!("schema tenant_{}", tenant.replace('-', "_"));
        [any(&self.postgres, &schema), any(&self.keys, tenant), any(&self.indexes, tenant)]
    }
}

fn first(world: &World) -> SecondInstance {
    let endpoints = world.platform.endpoints();
    SecondInstance {
        database_url: endpoints.database_url.clone(),
        redis_url: endpoints.redis_url.clone(),
        meili_url: endpoints.meili_url.clone(),
        meili_master_key: endpoints.meili_master_key.clone(),
    }
}

fn second(world: &World) -> SecondInstance {
    world.platform.endpoints().second.clone().unwrap()
}

async fn world(settings: &[(&str, &str)]) -> World {
    let stack = Stack::private_with(
        "it has two of each backend",
        StackOptions { second: true, ..StackOptions::default() },
    )
    .await
    .unwrap();
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let options = ProgramOptions { settings, ..ProgramOptions::default() };
    let platform = Platform::start_with(stack, &options).await.unwrap();
    // Leaked on purpose: the world borrows it, and the sandbox ends the servers with this process.
    World::builder().on(Box::leak(Box::new(platform))).build().await
}

async fn place(world: &World, tenant: &str, placement: Value, hosts: &[&str]) {
    let spec = json!({
        "apps": [{"name": world.app}], "placement": placement, "hosts": hosts, "deletionPolicy": "Delete",
    });
    world.apply::<Tenant>("Tenant", tenant, spec).await;
}

/// The instances that the status names.
async fn placement(world: &World, tenant: &str) -> [String; 3] {
    let tenant = world.api::<Tenant>().await.get(tenant).await.unwrap();
    let placement = tenant.status.unwrap().placement.unwrap();
    [placement.postgres, placement.redis, placement.search].map(Option::unwrap)
}

/// Waits until a condition has this reason; its message.
async fn until_reason(world: &World, tenant: &str, condition: &str, reason: &str) -> String {
    let api = world.api::<Tenant>().await;
    eventually(&format!("{tenant} {condition} {reason}"), LIMIT, || async {
        let found = api.get(tenant).await.map_err(|error| error.to_string())?;
        let conditions = found.status.map(|status| status.conditions).unwrap_or_default();
        let found = conditions.iter().find(|c| c.type_ == condition && c.reason == reason);
        found.map(|found| found.message.clone()).ok_or_else(|| format!("{conditions:?}"))
    })
    .await
    .unwrap()
}

async fn of(world: &World, tenant: &str, user: &str) -> String {
    let roles = ["reader", "writer", "worker"].map(|role| format!("{}:{role}", world.app));
    world.token_of(tenant, user, &roles.each_ref().map(String::as_str)).await
}

/// Writes, reads, finds and queues with a token, which decides whose.
async fn is_served(world: &World, token: &str, title: &str) {
    let made = world.post(&world.cards("data"), token, json!({"title": title})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let path = format!("{}/{}", world.cards("data"), made.body["id"].as_str().unwrap());
    assert_eq!(world.get(&path, token).await.body["title"], title);
    let queue = format!("/api/v1/jobs/{}/steady", world.app);
    assert_eq!(world.post(&queue, token, json!({"type": "test", "id": title})).await.status, 201);
    let leased = world.post(&format!("{queue}/lease"), token, json!({"max": 10})).await;
    assert_eq!(leased.body["jobs"][0]["id"], title, "{leased:?}");
    let search = format!("{}?q={title}", world.cards("search"));
    until(world, &search, token, |answer| answer.body["estimatedTotal"] == 1).await;
}

async fn until(world: &World, path: &str, token: &str, is: impl Fn(&Answer) -> bool) -> Answer {
    eventually(path, LIMIT, || async {
        let answer = world.get(path, token).await;
        if is(&answer) { Ok(answer) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn tenants_are_placed_where_the_manifest_or_free_capacity_says_and_stay_there() {
    let world = world(&[("TENANTRY__INSTANCES__POSTGRES__DEFAULT__CAPACITY", "4")]).await;
    world.make_searchable().await;
    let (here, there, mixed) = (world.tenant.clone(), unique("t-"), unique("t-"));
    assert_eq!(placement(&world, &here).await, ["default"; 3], "of equals the first by name");
    place(&world, &there, json!({}), &[]).await;
    world.until_ready(&there).await;
    assert_eq!(placement(&world, &there).await, [SECOND; 3], "the others have more room");
    place(&world, &mixed, json!({"postgres": "default", "redis": SECOND, "search": "default"}), &[]).await;
    world.until_ready(&mixed).await;

    for tenant in [&here, &there, &mixed] {
        is_served(&world, &of(&world, tenant, "ann").await, &format!("card-of-{tenant}")).await;
    }
    let (default, east) = (Holdings::of(&first(&world)).await, Holdings::of(&second(&world)).await);
    assert_eq!((default.has(&here), east.has(&here)), ([true; 3], [false; 3]));
    assert_eq!((default.has(&there), east.has(&there)), ([false; 3], [true; 3]));
    assert_eq!((default.has(&mixed), east.has(&mixed)), ([true, false, true], [false, true, false]));

    // What one tenant has, no other sees, wherever it is.
    let token = of(&world, &there, "ann").await;
    let list = world.get(&world.cards("data"), &token).await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1, "{list:?}");
    let request = http_client().unwrap().get(world.url(&world.cards("data"))).bearer_auth(&token);
    let foreign = tenantry_e2e::world::answer(request.header("X-Tenant", &here)).await;
    foreign.refused(403, "tenant_mismatch");
    a_password_of_one_instance_opens_no_other(&world).await;

    unknown_and_changed_places_are_refused(&world, &there).await;
    hosts_are_unique_over_instances(&world, &here).await;
    a_full_instance_takes_nobody(&world, &mixed).await;

    world.delete_tenant(&there).await;
    let east = Holdings::of(&second(&world)).await;
    assert_eq!(east.has(&there), [false; 3]);
    assert!(east.postgres.iter().all(|found| !found.contains(&there.replace('-', "_"))), "{east:?}");
    assert!(!east.postgres.contains(&format!("row {there}")));
}

async fn a_password_of_one_instance_opens_no_other(world: &World) {
    let key = Credentials::of(world.platform.endpoints()).traffic_key;
    let (key, login) = (LoginKey::new(SecretString::from(key)).unwrap(), LoginName::control_plane());
    let connect = |key: LoginKey| {
        let options: PgConnectOptions = second(world).database_url.parse().unwrap();
        let options = options.username(login.as_str()).password(key.password(&login).expose_secret());
        async move { PgConnection::connect_with(&options).await }
    };
    assert!(connect(key.clone()).await.is_err(), "the default instance's password");
    connect(key.of_instance(&InstanceName::new(SECOND).unwrap())).await.unwrap();
}

async fn unknown_and_changed_places_are_refused(world: &World, there: &str) {
    let lost = unique("t-");
    place(world, &lost, json!({"postgres": "nowhere"}), &[]).await;
    let message = until_reason(world, &lost, "Stalled", "InstanceNotFound").await;
    assert!(message.contains("nowhere") && message.contains("default, east"), "{message}");
    world.delete_tenant(&lost).await;

    // The tenant was placed by capacity; somebody asks for another place afterwards.
    let api = world.api::<Tenant>().await;
    let asks = |instance: &str| Patch::Merge(json!({"spec": {"placement": {"postgres": instance}}}));
    api.patch(there, &PatchParams::default(), &asks("default")).await.unwrap();
    let message = until_reason(world, there, "Stalled", "PlacementImmutable").await;
    assert!(message.contains("default") && message.contains(&format!("is in {SECOND}")), "{message}");
    assert_eq!(placement(world, there).await[0], SECOND);
    let token = of(world, there, "ann").await;
    assert_eq!(world.get(&world.cards("data"), &token).await.status, 200, "served all the same");
    for refused in [json!(SECOND), Value::Null] {
        let patch = Patch::Merge(json!({"spec": {"placement": {"postgres": refused}}}));
        let error = api.patch(there, &PatchParams::default(), &patch).await.unwrap_err().to_string();
        assert!(error.contains("cannot be moved"), "{error}");
    }
}

async fn hosts_are_unique_over_instances(world: &World, here: &str) {
    let (host, rival) = (format!("{here}.example.com"), unique("t-"));
    place(world, &rival, json!({"postgres": SECOND}), &[&host]).await;
    let message = until_reason(world, &rival, "Stalled", "HostConflict").await;
    assert!(message.contains(&host) && message.contains(here), "{message}");
    world.delete_tenant(&rival).await;
}

/// The default Postgres takes four tenants and has two.
async fn a_full_instance_takes_nobody(world: &World, mixed: &str) {
    let [third, fourth, late] = [unique("t-"), unique("t-"), unique("t-")];
    for tenant in [&third, &fourth] {
        place(world, tenant, json!({"postgres": "default"}), &[]).await;
        world.until_ready(tenant).await;
    }
    place(world, &late, json!({"postgres": "default"}), &[]).await;
    let message = until_reason(world, &late, "Stalled", "CapacityExhausted").await;
    assert!(message.contains("default 4/4") && message.contains("raise its capacity"), "{message}");
    world.delete_tenant(mixed).await;
    world.until_ready(&late).await;
    assert_eq!(placement(world, &late).await[0], "default");
}

#[tokio::test]
async fn an_instance_that_is_away_takes_nothing_from_the_others_and_nothing_is_placed_twice() {
    let world =
        world(&[("TENANTRY__LEADER__DURATION_SECONDS", "3"), ("TENANTRY__LEADER__RENEW_SECONDS", "1")]).await;
    let [here, there] = [unique("t-"), unique("t-")];
    for (tenant, instance) in [(&here, "default"), (&there, SECOND)] {
        place(&world, tenant, json!({"postgres": instance, "redis": instance, "search": instance}), &[])
            .await;
        world.until_ready(tenant).await;
    }
    let (ann, eve) = (of(&world, &here, "ann").await, of(&world, &there, "eve").await);
    let card = world.post(&world.cards("data"), &eve, json!({"title": "kept"})).await;
    let kept = format!("{}/{}", world.cards("data"), card.body["id"].as_str().unwrap());
    let east = &world.platform.stack().second().unwrap().postgres;
    east.kill().await.unwrap();

    // The others are served, and new ones come.
    let cards = world.cards("data");
    let write = |title: &'static str| world.post(&cards, &ann, json!({"title": title}));
    assert_eq!(write("one").await.status, 201);
    assert_eq!(world.get(&kept, &eve).await.status, 503);
    let [free, bound] = [unique("t-"), unique("t-")];
    place(&world, &free, json!({}), &[]).await;
    world.until_ready(&free).await;
    assert_eq!(placement(&world, &free).await[0], "default", "the one that answers");
    place(&world, &bound, json!({"postgres": SECOND}), &[]).await;
    let message = until_reason(&world, &bound, "DatabaseReady", "BackendUnavailable").await;
    assert!(message.contains(&format!("instance {SECOND}")), "{message}");

    // A new version reaches those that are there, and the App says who waits.
    let mut newer = app_spec();
    newer["version"] = json!("1.1.0");
    newer["docTypes"][0]["fields"].as_array_mut().unwrap().push(json!({"name": "color", "type": "String"}));
    world.apply::<App>("App", &world.app, newer).await;
    let red = json!({"title": "two", "color": "red"});
    eventually("the new field is served", LIMIT, || async {
        let answer = world.post(&world.cards("data"), &ann, red.clone()).await;
        if answer.status == 201 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    let apps = world.api::<App>().await;
    eventually("the App names the instance", LIMIT, || async {
        let status =
            apps.get(&world.app).await.map_err(|error| error.to_string())?.status.unwrap_or_default();
        let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
        let names = ready.is_some_and(|c| c.status == "False" && c.message.contains(SECOND));
        if names { Ok(()) } else { Err(format!("{:?}", status.conditions)) }
    })
    .await
    .unwrap();

    // New processes, while the instance is still away.
    restart(&world).await;
    assert_eq!(write("three").await.status, 201);
    world.send(Method::GET, &kept, &eve, None).await.refused(503, "unavailable");
    let [fixed, unsure] = [unique("t-"), unique("t-")];
    place(&world, &fixed, json!({"postgres": "default"}), &[]).await;
    world.until_ready(&fixed).await;
    place(&world, &unsure, json!({}), &[]).await;
    let message = until_reason(&world, &unsure, "DatabaseReady", "BackendUnavailable").await;
    assert!(message.contains(SECOND) && message.contains("may hold the tenant"), "{message}");

    east.start().await.unwrap();
    until(&world, &kept, &eve, |answer| answer.status == 200).await;
    for tenant in [&here, &there, &free, &bound, &fixed, &unsure] {
        world.until_ready(tenant).await;
    }
    let blue = json!({"title": "four", "color": "blue"});
    eventually("the new field is served there, too", LIMIT, || async {
        let answer = world.post(&world.cards("data"), &eve, blue.clone()).await;
        if answer.status == 201 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await
    .unwrap();
    world
        .platform
        .endpoints()
        .kubectl(&["wait", "--for=condition=Ready", "app", &world.app, "--timeout=60s"])
        .await
        .unwrap();

    let before = [placement(&world, &free).await, placement(&world, &unsure).await];
    restart(&world).await;
    until(&world, &kept, &eve, |answer| answer.status == 200).await;
    assert_eq!([placement(&world, &free).await, placement(&world, &unsure).await], before);
    let (default, east) = (Holdings::of(&first(&world)).await, Holdings::of(&second(&world)).await);
    for tenant in [&here, &there, &free, &bound, &fixed, &unsure] {
        assert_ne!(default.has(tenant)[0], east.has(tenant)[0], "{tenant} is in one instance");
    }
}

/// The operator and the control plane, one after the other.
async fn restart(world: &World) {
    for program in [world.platform.operator().unwrap(), world.platform.serve().unwrap()] {
        program.server().kill().await.unwrap();
        program.server().start().await.unwrap();
    }
}
