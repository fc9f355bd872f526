//! Kill -9 of the operator at random moments, while tenants come and go: afterwards all backends agree with the CRs.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sqlx::{Connection, PgConnection};
use tenantry_crds::names::{
    AppName, DocTypeName, IndexUid, OwnerRole, QueueName, RedisKey, SchemaName, TenantName,
};
use tenantry_crds::v1alpha1::{DeletionPolicy, Tenant, TenantApp, TenantSpec};
use tenantry_e2e::Platform;
use tenantry_e2e::program::ProgramOptions;
use tenantry_rig::endpoints::http_client;
use tenantry_rig::{Endpoints, Stack, eventually};

const TENANTS: usize = 30;
const KILLS: usize = 20;
/// The longest that an operator lives between two kills: long enough to win the lease, too short to finish.
const LONGEST_LIFE: Duration = Duration::from_millis(3500);
/// A short lease, or the test would mostly wait for the leases of dead operators to run out.
const LEASE: [(&str, &str); 2] =
    [("TENANTRY__LEADER__DURATION_SECONDS", "2"), ("TENANTRY__LEADER__RENEW_SECONDS", "1")];

type Set = BTreeSet<String>;

#[tokio::test]
async fn a_killed_operator_leaves_nothing_undone_and_nothing_behind() {
    let settings = LEASE.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let options = ProgramOptions { settings, ..ProgramOptions::default() };
    let stack = Stack::private("its operator is killed all the time").await.unwrap();
    let platform = Platform::start_with(stack, &options).await.unwrap();
    let endpoints = platform.endpoints();
    for sample in ["app-crm.yaml", "searchindex-crm-customers.yaml"] {
        let file = format!("{}/../config/samples/{sample}", env!("CARGO_MANIFEST_DIR"));
        endpoints.kubectl(&["apply", "--server-side", "-f", &file]).await.unwrap();
    }
    let client = endpoints.kube_client().await.unwrap();
    let api: Api<Tenant> = Api::all(client.clone());
    let mut kept: Vec<String> = Vec::new();

    let seed = rand::rng().random::<u64>();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let operator = platform.operator().unwrap().server();
    operator.kill().await.unwrap();
    for kill in 0..KILLS {
        for n in (kill * TENANTS / KILLS)..((kill + 1) * TENANTS / KILLS) {
            kept.push(create(&api, n).await);
        }
        if kill % 2 == 1 {
            let gone = kept.swap_remove(random.random_range(0..kept.len()));
            api.delete(&gone, &DeleteParams::default()).await.unwrap();
        }
        let life = LONGEST_LIFE.mul_f64(random.random());
        // Ending the life before the operator is ready is one of the moments that matter.
        let _outlived = tokio::time::timeout(life, async {
            operator.start().await.unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        operator.kill().await.unwrap();
    }
    operator.start().await.unwrap();

    let expected: Set = kept.into_iter().collect();
    eventually("every Tenant is Ready or gone", Duration::from_secs(90), || settled(&api, &expected))
        .await
        .unwrap();
    assert_eq!(in_postgres(endpoints).await, Expected::of(&expected).postgres);
    assert_eq!(redis_keys(endpoints).await, Expected::of(&expected).keys);
    assert_eq!(search_indexes(endpoints).await, Expected::of(&expected).indexes);
    nothing_is_written_at_rest(&client).await;
}

async fn create(api: &Api<Tenant>, n: usize) -> String {
    let name = format!("crash-{n}");
    let crm = TenantApp { name: "crm".to_owned(), version: None, settings: None };
    let spec =
        TenantSpec { apps: vec![crm], deletion_policy: DeletionPolicy::Delete, ..TenantSpec::default() };
    api.create(&PostParams::default(), &Tenant::new(&name, spec)).await.unwrap();
    name
}

async fn settled(api: &Api<Tenant>, expected: &Set) -> Result<(), String> {
    let tenants = api.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
    let there: Set = tenants.iter().map(ResourceExt::name_any).collect();
    if there != *expected {
        return Err(format!("there are {there:?}, expected {expected:?}"));
    }
    let ready = |tenant: &Tenant| {
        tenant.status.as_ref().is_some_and(|status| {
            status.observed_generation == tenant.metadata.generation
                && status
                    .conditions
                    .iter()
                    .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
    };
    match tenants.iter().find(|tenant| !ready(tenant)) {
        Some(tenant) => Err(format!("{} is not Ready: {:?}", tenant.name_any(), tenant.status)),
        None => Ok(()),
    }
}

/// What the backends must hold for a set of tenants.
struct Expected {
    postgres: Set,
    keys: Set,
    indexes: Set,
}

impl Expected {
    fn of(tenants: &Set) -> Self {
        let (app, customer) = (AppName::new("crm").unwrap(), DocTypeName::new("customer").unwrap());
        let queue = QueueName::new("default").unwrap();
        let mut expected = Self { postgres: Set::new(), keys: Set::new(), indexes: Set::new() };
        for tenant in tenants.iter().map(|name| TenantName::new(name).unwrap()) {
            let (schema, owner) = (SchemaName::of(&tenant), OwnerRole::of(&tenant));
            expected.postgres.extend([
                format!("schema {schema} with 7 tables"),
                format!("role {schema}"),
                format!("role {owner}"),
                format!("row {tenant} Active true with 2 apps, 1 stream, 1 search true"),
            ]);
            expected.keys.insert(RedisKey::queue(&tenant, &app, &queue).to_string());
            expected.indexes.insert(IndexUid::of(&tenant, &app, &customer).to_string());
        }
        expected
    }
}

async fn in_postgres(endpoints: &Endpoints) -> Set {
    let mut database = PgConnection::connect(&endpoints.database_url).await.unwrap();
    let found: Vec<String> = sqlx::query_scalar(
        r"SELECT format('schema %s with %s tables', nspname,
                        (SELECT count(*) FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'r'))
            FROM pg_namespace n WHERE nspname LIKE 'tenant\_%'
          UNION ALL SELECT format('role %s', rolname) FROM pg_roles WHERE rolname LIKE 'tenant\_%'
          UNION ALL SELECT format('row %s %s %s with %s apps, %s stream, %s search %s', name, state,
                                  CASE WHEN ready THEN 'true' ELSE 'false' END,
                                  (SELECT count(*) FROM tenantry.tenant_app a WHERE a.tenant = t.name),
                                  (SELECT count(*) FROM tenantry.stream_binding s WHERE s.tenant = t.name),
                                  (SELECT count(*) FROM tenantry.search_binding s WHERE s.tenant = t.name),
                                  (SELECT CASE WHEN bool_and(live) THEN 'true' ELSE 'false' END
                                     FROM tenantry.search_binding s WHERE s.tenant = t.name))
            FROM tenantry.tenant t",
    )
    .fetch_all(&mut database)
    .await
    .unwrap();
    found.into_iter().collect()
}

async fn redis_keys(endpoints: &Endpoints) -> Set {
    let client = redis::Client::open(endpoints.redis_url.as_str()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    keys.into_iter().collect()
}

async fn search_indexes(endpoints: &Endpoints) -> Set {
    let url = format!("{}/indexes?limit=1000", endpoints.meili_url);
    let request = http_client().unwrap().get(url).bearer_auth(&endpoints.meili_master_key);
    let answer: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|index| index["uid"].as_str().unwrap().to_owned())
        .collect()
}

/// The resource version of a list moves with every write to its kind.
async fn nothing_is_written_at_rest(client: &Client) {
    let api: Api<Tenant> = Api::all(client.clone());
    let versions = || async {
        let list = api.list(&ListParams::default()).await.unwrap();
        list.items.iter().map(|tenant| (tenant.name_any(), tenant.resource_version())).collect::<Vec<_>>()
    };
    let before = versions().await;
    let quiet = tokio::time::sleep(Duration::from_secs(3));
    quiet.await;
    assert_eq!(before, versions().await, "a Ready Tenant was written again");
}
